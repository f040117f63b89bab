import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BrokerEventBus } from '../../bus/index.ts'
import { toError } from '../../errors.ts'
import { Tortured } from '../../verify/events.ts'
import { ACTIONS } from '../../verify/faults.ts'
import { type Fact, HistoryWriter, readHistory } from '../../verify/history.ts'
import { innerParts } from '../../verify/inner-parts.ts'
import type { Part, WorkerOptions } from '../../verify/messages.ts'
import { LatenessWatch } from '../../verify/process-watch.ts'
import { Random } from '../../verify/random.ts'
import type { GroupRules, JudgeOptions } from '../../verify/rules.ts'
import { type BrokerRest, TortureRun } from '../../verify/run.ts'
import { Stage } from '../../verify/stage.ts'
import { summaryOf } from '../../verify/summary.ts'
import { confirmed } from '../confirm.ts'
import { EXIT, type ExitCode, UsageError } from '../exit-code.ts'
import type { BusTarget } from '../target.ts'
import type { Terminal } from '../terminal.ts'
import { loadHandlers } from './load-handlers.ts'
import type { NamedBus } from './named-bus.ts'
import { printSummary } from './print-summary.ts'
import type { ProcessOptions } from './process.ts'
import {
  createVerifyBus,
  HANDLER_TIMEOUT_MS,
  heldMsOf,
  isKafka,
  leaseMsOf,
  MAX_ATTEMPTS,
  MAX_IN_FLIGHT,
  partitionsOf,
} from './verify-bus.ts'

// In the package, this code is in a file of dist/parts/.
const FILE = import.meta.url.endsWith('.ts') ? './process.ts' : '../cli/verify/process.js'
const PROGRAM = fileURLToPath(new URL(FILE, import.meta.url))
/** Longest time until a process works, in milliseconds. */
const START_MS = 60_000
/** Pause after the last fault, in milliseconds. */
const LAST_PAUSE_MS = 2000
/** Aggregates of each producer; with partitions, enough for all of them. */
const [AGGREGATES, PARTITIONED_AGGREGATES] = [12, 100]
/** What the processes cannot do on Windows, which has no such signals. */
const NEEDS_SIGNALS: readonly string[] = ['consumerFrozenBeyondLease', 'consumerFrozenShortly']

export interface VerifySettings {
  readonly prefix: string
  readonly seconds: number
  readonly seed: number | undefined
  readonly partitions: number | undefined
  readonly handlers: string | undefined
  readonly maxStallMs: number
  readonly config: string | undefined
  readonly isJson: boolean
  readonly terminal: Terminal
}

/** Removes what a run has left that could not do it itself. The names do not have to exist. */
export async function cleanUp(
  target: BusTarget,
  settings: VerifySettings & { readonly isYes: boolean },
): Promise<ExitCode> {
  const { prefix, terminal } = settings
  if (!(await confirmed(settings, target, `remove all names of the run ${prefix}`))) {
    terminal.err('nothing was removed')
    return EXIT.failed
  }
  const scene = new Scene(target, { ...settings, seed: 0, module: undefined })
  try {
    await scene.connect()
  } finally {
    await scene.end()
  }
  terminal.err(`removed what the run ${prefix} had left`)
  return EXIT.done
}

/** Plays faults on the broker, and removes all that it has created there, also if it fails or is interrupted. */
export async function runVerify(target: BusTarget, settings: VerifySettings): Promise<ExitCode> {
  if (target.url.startsWith('memory:'))
    throw new UsageError('verify needs a broker: the processes cannot share memory:.')
  const { terminal, handlers } = settings
  const seed = settings.seed ?? Math.floor(Math.random() * 1_000_000)
  const prefix = `${settings.prefix}-${randomBytes(4).toString('hex')}`
  const module = handlers === undefined ? undefined : resolve(terminal.workingDirectory, handlers)
  if (module !== undefined) await loadHandlers(module)
  const scene = new Scene(target, { ...settings, seed, prefix, module })
  // From here on, Ctrl-C does not end the process at once.
  const { interrupted } = terminal
  try {
    await scene.connect()
    terminal.err(
      `verifying with the prefix ${prefix} and seed ${seed}; Ctrl-C ends it and removes everything, ` +
        `and verify --clean ${prefix} after a crash`,
    )
    const facts = await scene.play()
    const summary = summaryOf(facts, scene.rulesFor(facts), settings.maxStallMs)
    await printSummary(summary, { ...settings, seed })
    return summary.violations.length === 0 ? EXIT.done : EXIT.checkFailed
  } catch (thrown) {
    if (!interrupted.aborted) throw thrown
    terminal.err('interrupted')
    return EXIT.interrupted
  } finally {
    await scene.end()
  }
}

interface SceneSettings extends VerifySettings {
  readonly seed: number
  readonly prefix: string
  /** Absolute path of the user's module. */
  readonly module: string | undefined
}

/** The groups, processes and names of a run. */
class Scene {
  readonly #target: BusTarget
  readonly #settings: SceneSettings
  readonly #operator: BrokerEventBus
  readonly #shared: string
  readonly #alone: string
  readonly #opened: AsyncDisposable[] = []
  #stage: Stage | undefined
  #isConnected = false

  constructor(target: BusTarget, settings: SceneSettings) {
    this.#target = target
    this.#settings = settings
    const { prefix, partitions } = settings
    // Kafka has one space of group names for all topics.
    this.#shared = `${prefix}.shared`
    this.#alone = `${prefix}.alone`
    const names = { consumerGroup: `${prefix}.operator`, consumerName: 'operator' }
    this.#operator = createVerifyBus(target, { prefix, partitions, ...names, isAlone: false }, true)
    this.#operator.subscribe(Tortured, () => undefined)
  }

  async connect(): Promise<void> {
    await this.#operator.connect()
    this.#isConnected = true
  }

  rulesFor(facts: readonly Fact[]): JudgeOptions {
    const { url } = this.#target
    const { partitions, module } = this.#settings
    const hasOwners = isKafka(url) || partitionsOf(this.#target, partitions) > 1
    const order = hasOwners ? 'group' : 'consumer'
    const alone = { name: this.#alone, handlers: ['flaky'], order: 'group' as const }
    return {
      groups: [
        { name: this.#shared, order, ...handlersIn(facts) },
        // One consumer at a time, whose successor has its name, so that order holds across them on every bus.
        ...(module === undefined ? [alone] : []),
      ],
      maxAttempts: MAX_ATTEMPTS,
      maxInFlight: MAX_IN_FLIGHT,
      ackMs: 2000,
      takeoverMs: hasOwners ? leaseMsOf(url) + 2000 : 0,
    }
  }

  async play(): Promise<readonly Fact[]> {
    const { seed, seconds, maxStallMs, terminal, module } = this.#settings
    const folder = await mkdtemp(join(tmpdir(), 'eventspine-verify-'))
    const history = new HistoryWriter(folder, 'run')
    const lateness = new LatenessWatch(history)
    const random = new Random(seed)
    const stage = this.#stageOf(folder, history, random)
    this.#stage = stage
    this.#opened.push({
      [Symbol.asyncDispose]: async () => {
        lateness.end()
        history.close()
        await rm(folder, { recursive: true, force: true })
      },
    })
    const names = Object.keys(ACTIONS).filter(
      (name) => process.platform !== 'win32' || !NEEDS_SIGNALS.includes(name),
    )
    const run = new TortureRun({
      ...{ stage, operator: this.#operator, producers: 2, actions: ACTIONS },
      rules: (facts) => this.rulesFor(facts),
      consumers: this.#consumers(),
      round: () => random.shuffled(names),
      extent: { seconds, pauseMs: [500, 2000], lastPauseMs: LAST_PAUSE_MS },
      startMs: START_MS,
      ...{ stallMs: maxStallMs, quietMs: heldMsOf(this.#target, module === undefined) },
      rests: () => this.#rests(),
      onProgress: (line) => terminal.err(line),
      signal: terminal.interrupted,
    })
    return run.play()
  }

  async end(): Promise<void> {
    await this.#stage?.clear()
    try {
      if (this.#isConnected)
        await innerParts(this.#operator).transport.removeAll?.([this.#shared, this.#alone], this.#created())
    } catch (thrown) {
      const { prefix } = this.#settings
      throw new Error(`Not all names with ${prefix} could be removed: ${toError(thrown).message}`, {
        cause: thrown,
      })
    } finally {
      await this.#operator.shutdown({ timeoutMs: 5000 })
      for (const one of this.#opened) await one[Symbol.asyncDispose]()
    }
  }

  #stageOf(folder: string, history: HistoryWriter, random: Random): Stage {
    const { url, name } = this.#target
    const { config, prefix, partitions, module, terminal } = this.#settings
    const { EVENTSPINE_CONFIG } = terminal.environment
    const bus: NamedBus = {
      ...{ url, name, workingDirectory: terminal.workingDirectory },
      config: config ?? EVENTSPINE_CONFIG,
    }
    const more: Omit<ProcessOptions, keyof WorkerOptions> = {
      ...{ bus, prefix, partitions, handlers: module },
    }
    const isPartitioned = partitionsOf(this.#target, partitions) > 1
    return new Stage({
      ...{ folder, history, random, hasPoison: isPartitioned && module === undefined },
      ...{ leaseMs: leaseMsOf(url), handlerTimeoutMs: HANDLER_TIMEOUT_MS },
      aggregates: isPartitioned ? PARTITIONED_AGGREGATES : AGGREGATES,
      launch: () => Promise.resolve({ program: PROGRAM, execArgv: process.execArgv, more, line: undefined }),
    })
  }

  #consumers(): readonly Part[] {
    const shared = ['first', 'second', 'third'].map((consumerName): Part => {
      const handlers = ['steady', 'flaky']
      return { role: 'consumer', group: this.#shared, isAlone: false, handlers, consumerName }
    })
    const alone: Part = {
      ...{ role: 'consumer', group: this.#alone, isAlone: true, handlers: ['flaky'], consumerName: 'only' },
    }
    return this.#settings.module === undefined ? [...shared, alone] : shared
  }

  /** Names on the broker that only the consumers know. */
  #created(): readonly string[] {
    const folder = this.#stage?.parts.folder
    const facts = folder === undefined ? [] : readHistory(folder)
    return [...new Set(facts.flatMap((fact) => (fact.kind === 'created' ? fact.name : [])))]
  }

  async #rests(): Promise<readonly BrokerRest[]> {
    const groups = await this.#operator.admin.groups()
    return [this.#shared, this.#alone].map((name) => {
      const { lag = 0, inFlight = 0, retriesWaiting = 0 } = groups.find((group) => group.name === name) ?? {}
      const unsettled = lag + inFlight + retriesWaiting
      return {
        group: name,
        unsettled,
        detail: `waiting: ${lag}, in flight: ${inFlight}, retries: ${retriesWaiting}`,
      }
    })
  }
}

/** The handlers of the shared group: the user's as a consumer has recorded them, or those of the run. */
function handlersIn(facts: readonly Fact[]): Pick<GroupRules, 'handlers' | 'typesOf'> {
  const users = facts.flatMap((fact) => (fact.kind === 'consuming' ? (fact.handlers ?? []) : []))
  if (users.length === 0) return { handlers: ['steady', 'flaky'] }
  const typesOf = new Map(users)
  return { handlers: [...typesOf.keys()], typesOf }
}
