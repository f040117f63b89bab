import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { BrokerEventBus, DeadLetter } from '../../src/index.ts'
import { WaitTimeoutError } from '../../src/testing/index.ts'
import type { BrokerKind } from '../brokers/broker.ts'
import { paced } from '../support/pace.ts'
import { waitFor } from '../support/wait-for.ts'
import type { Breakage } from './broken-transport.ts'
import { restOf } from './broker-end.ts'
import { Chronicle } from './chronicle.ts'
import { now } from './clock.ts'
import { FAULTS, type FaultName, type FaultTools, inflict } from './faults.ts'
import { countFacts, type Fact, HistoryWriter, readHistory } from './history.ts'
import { type JudgeOptions, judge, report, type Violation } from './judge.ts'
import { nothingLost } from './judge-delivery.ts'
import { type Recovery, recoveries } from './judge-recovery.ts'
import { LatenessWatch } from './process-watch.ts'
import { Random } from './random.ts'
import { SecretWatch } from './secret-watch.ts'
import { type Actor, type Part, Stage } from './stage.ts'
import type { Tampering } from './tampered-client.ts'
import { launchTortureBroker, type TortureBroker } from './torture-broker.ts'
import {
  ALONE,
  createTortureBus,
  LEASE_MS,
  MAX_ATTEMPTS,
  MAX_IN_FLIGHT,
  SCOPE,
  Tortured,
} from './torture-bus.ts'

export interface TortureOptions {
  readonly kind: BrokerKind
  readonly seconds: number
  readonly seed: number
  /** The faults, in order. Default: all faults, in repeatedly shuffled order. */
  readonly faults?: readonly FaultName[]
  readonly breakage?: Breakage | Tampering
  /** Number of partitions. From 2 on, the order is judged across the group, and some events are poison. Default 1, on Kafka 6. */
  readonly partitions?: number
  /** Aggregates of each producer. Default 12, with partitions 100. */
  readonly aggregates?: number
  /** The faults go on until this number of events is confirmed, whatever `seconds` says. */
  readonly events?: number
  /** Minimum number of faults, even if the run takes longer on a slow machine. Default 0. */
  readonly leastFaults?: number
  /** Minimum and maximum time between two faults, in milliseconds. Default 1,500 to 6,000. */
  readonly pauseMs?: readonly [number, number]
  /** Maximum time until all confirmed events are settled after the last publish, in milliseconds. Default 45,000 on the reference machine. */
  readonly settleMs?: number
  readonly onProgress?: (line: string) => void
}

export interface TortureResult {
  readonly violations: readonly Violation[]
  readonly recoveries: readonly Recovery[]
  readonly faults: readonly string[]
  readonly counts: Readonly<Record<string, number>>
  /** All violations of the run by rule, with the histories of their events; empty if there is none. */
  readonly report: string
}

/** Aggregates of each producer. With partitions there are more, so that each partition has some. */
const AGGREGATES = 12
const PARTITIONED_AGGREGATES = 100

/** The rules that a bus must keep. */
function rulesOf(kind: BrokerKind, partitions: number): JudgeOptions {
  const hasOwners = kind === 'kafka' || partitions > 1
  const competing = hasOwners ? 'group' : 'consumer'
  return {
    groups: [
      { name: 'shared', handlers: ['steady', 'flaky'], order: competing },
      // One consumer at a time, whose successor has its name, so that order holds across them on every bus.
      { name: ALONE, handlers: ['flaky'], order: 'group' },
    ],
    maxAttempts: MAX_ATTEMPTS,
    maxInFlight: MAX_IN_FLIGHT,
    ackMs: 500,
    takeoverMs: hasOwners ? LEASE_MS + 2000 : 0,
    recoveryMs: 5000,
    silenceMs: LEASE_MS + 5000,
    balanceMs: LEASE_MS,
    heapGrowthBytes: 64 * 1024 * 1024,
  }
}

/** Runs the faults and judges the history. Ends everything that it started, even if it fails. */
export async function torture(options: TortureOptions): Promise<TortureResult> {
  await using broker = await launchTortureBroker(options.kind)
  const folder = await mkdtemp(join(tmpdir(), 'eventspine-torture-'))
  const run = new TortureRun(options, broker, folder)
  try {
    return await run.play()
  } finally {
    await run.end()
    await rm(folder, { recursive: true, force: true })
  }
}

class TortureRun {
  readonly #options: TortureOptions
  readonly #broker: TortureBroker
  readonly #folder: string
  readonly #lateness: LatenessWatch
  readonly #random: Random
  readonly #history: HistoryWriter
  readonly #stage: Stage
  /** Records and replays dead letters. */
  readonly #operator: BrokerEventBus
  readonly #rules: JudgeOptions

  constructor(options: TortureOptions, broker: TortureBroker, folder: string) {
    const { kind, breakage, seed, partitions = 1 } = options
    this.#options = options
    this.#broker = broker
    this.#folder = folder
    this.#random = new Random(seed)
    this.#history = new HistoryWriter(folder, 'run')
    this.#lateness = new LatenessWatch(this.#history)
    this.#rules = rulesOf(kind, partitions)
    const { port } = broker
    this.#stage = new Stage({
      ...{ broker: broker.broker, port, folder },
      ...{ history: this.#history, random: this.#random, breakage, partitions },
      aggregates: options.aggregates ?? (partitions > 1 ? PARTITIONED_AGGREGATES : AGGREGATES),
    })
    const watch = new SecretWatch((what) => this.#history.record({ kind: 'leaked', what }))
    const names = { consumerGroup: 'operator', consumerName: 'operator' }
    this.#operator = createTortureBus({ kind, port, scope: SCOPE, partitions, ...names }, watch.logger)
    this.#operator.subscribe(Tortured, () => undefined)
  }

  async play(): Promise<TortureResult> {
    await this.#open()
    await this.#torment()
    for (const producer of this.#stage.producers) {
      // A process that has just started does not know the signal yet.
      await this.#whenPublishing(producer)
      await this.#stage.stop(producer)
    }
    await this.#settle()
    await Promise.all(this.#stage.consumers.map((consumer) => this.#stage.stop(consumer)))
    for (const rest of await this.#rests()) this.#history.record({ kind: 'brokerEnd', ...rest })
    await this.#noteDeadLetters('deadLettered')
    return this.#judge()
  }

  async end(): Promise<void> {
    await this.#stage.clear()
    this.#lateness.end()
    await this.#operator.shutdown({ timeoutMs: 5000 })
    this.#history.close()
  }

  async #open(): Promise<void> {
    const isPartitioned = (this.#options.partitions ?? 1) > 1
    const names = ['first', 'second', 'third', ...(isPartitioned ? ['fourth'] : [])]
    const shared = names.map((consumerName) => consumer('shared', consumerName))
    const actors: Actor[] = []
    for (const part of [...shared, consumer(ALONE, 'only')]) actors.push(await this.#stage.start(part))
    await Promise.all(actors.map((actor) => this.#whenConsuming(actor)))
    for (let n = 0; n < 2; n += 1) await this.#stage.start(PRODUCER)
    await Promise.all(this.#stage.producers.map((actor) => this.#whenPublishing(actor)))
  }

  /** Alternates pauses and faults. The last pause is long enough for the last recovery. */
  async #torment(): Promise<void> {
    const end = Date.now() + this.#options.seconds * 1000
    await delay(2000)
    const tools: FaultTools = {
      stage: this.#stage,
      whenConsuming: (actor) => this.#whenConsuming(actor),
      replayDeadLetters: () => this.#replay(),
    }
    const { events, leastFaults = 0 } = this.#options
    const isEnough = () => (events === undefined ? Date.now() >= end : this.#confirmed() >= events)
    const isOver = (count: number) => count > leastFaults && isEnough()
    for (let count = 1; !isOver(count); ) {
      for (const name of this.#options.faults ?? this.#round(count)) {
        if (isOver(count)) break
        this.#say(`fault ${count}: ${name}`)
        await inflict(name, `${count} ${name}`, tools)
        count += 1
        await delay(this.#random.integer(...(this.#options.pauseMs ?? [1500, 6000])))
      }
    }
    // The recovery of a broken transport does not matter.
    if (this.#options.breakage === undefined) await delay(this.#rules.recoveryMs)
  }

  /** All faults once, in random order; even a short run includes the worst one. */
  #round(count: number): readonly FaultName[] {
    const all = this.#random.shuffled(FAULTS)
    if (count > 1) return all
    const others: readonly FaultName[] = all.filter((name) => name !== 'brokerKilled')
    return others.toSpliced(this.#random.integer(0, 4), 0, 'brokerKilled')
  }

  /** Waits until all confirmed events are handled or dead-lettered. The judge reports those that are not. */
  async #settle(): Promise<void> {
    this.#say('waiting until all is settled')
    const isSettled = async () => {
      const chronicle = new Chronicle([...this.#facts(), ...(await this.#letters('deadLettered'))])
      if (nothingLost(chronicle, this.#rules).length > 0) return false
      // Events with an unknown outcome count, too.
      return (await this.#rests()).every(({ unsettled }) => unsettled === 0)
    }
    const { settleMs: timeoutMs = paced(45_000) } = this.#options
    await waitFor(isSettled, { timeoutMs, intervalMs: 1000 }).catch((error: unknown) => {
      if (!(error instanceof WaitTimeoutError)) throw error
      this.#say('not all was settled in time')
    })
  }

  #rests() {
    return Promise.all(
      this.#rules.groups.map(({ name }) => restOf(this.#broker, SCOPE, name, this.#options.partitions)),
    )
  }

  #judge(): TortureResult {
    const facts = this.#facts()
    const chronicle = new Chronicle(facts)
    const violations = judge(facts, this.#rules)
    const count = (kind: Fact['kind']) => facts.filter((fact) => fact.kind === kind).length
    const kinds = [
      'confirmed',
      'notStored',
      'unknown',
      'finished',
      'failed',
      'deadLettered',
      'replayed',
    ] as const
    return {
      violations,
      recoveries: recoveries(chronicle, this.#rules),
      faults: chronicle.faults.map(({ name }) => name),
      counts: Object.fromEntries(kinds.map((kind) => [kind, count(kind)])),
      report: violations.length === 0 ? '' : `seed ${this.#options.seed}\n${report(violations)}`,
    }
  }

  async #replay(): Promise<void> {
    for (const { letter, fact } of await this.#described('replayed')) {
      this.#history.record({ ...fact, at: now() })
      await this.#operator.deadLetters.replay(letter.id)
    }
  }

  async #noteDeadLetters(kind: 'deadLettered'): Promise<void> {
    for (const fact of await this.#letters(kind)) this.#history.record(fact)
  }

  async #letters(kind: 'deadLettered') {
    return (await this.#described(kind)).map(({ fact }) => fact)
  }

  async #described(kind: 'deadLettered' | 'replayed') {
    const { deadLetters } = await this.#operator.deadLetters.list({ limit: 100_000 })
    return deadLetters.map((letter) => ({ letter, fact: factOf(letter, kind) }))
  }

  #whenConsuming(actor: Pick<Actor, 'name'>): Promise<void> {
    return this.#whenRecorded(actor, 'consuming')
  }

  #whenPublishing(actor: Pick<Actor, 'name'>): Promise<void> {
    return this.#whenRecorded(actor, 'published')
  }

  async #whenRecorded({ name }: Pick<Actor, 'name'>, wanted: Fact['kind']): Promise<void> {
    const isThere = () => readHistory(this.#folder, name).some(({ kind }) => kind === wanted)
    await waitFor(isThere, {
      timeoutMs: paced(30_000),
      intervalMs: 100,
      describe: () =>
        `${name} to record ${wanted}; it wrote ${this.#stage.actors.find((it) => it.name === name)?.output}`,
    })
  }

  /** Counts the lines, because parsing a long history takes seconds. */
  #confirmed(): number {
    return countFacts(this.#folder, PRODUCER.group, 'confirmed')
  }

  #facts(): readonly Fact[] {
    return readHistory(this.#folder)
  }

  #say(line: string): void {
    this.#options.onProgress?.(line)
  }
}

const PRODUCER: Part = { role: 'producer', group: 'producer', handlers: [], consumerName: 'producer' }

function consumer(group: 'shared' | typeof ALONE, consumerName: string): Part {
  const handlers = group === 'shared' ? ['steady', 'flaky'] : ['flaky']
  return { role: 'consumer', group, handlers, consumerName }
}

function factOf(letter: DeadLetter, kind: 'deadLettered' | 'replayed') {
  const { event, aggregateId = '', consumerGroup = '', handlerNames = [], attempts = 0, reason = '' } = letter
  const n = event instanceof Tortured ? event.n : numberIn(letter.body)
  return {
    kind,
    process: 'run',
    at: letter.lastFailedAt?.getTime() ?? 0,
    event: `${aggregateId}#${n}`,
    aggregate: aggregateId,
    n,
    group: consumerGroup,
    handlers: handlerNames,
    attempts,
    reason,
  }
}

/** The number of an event that cannot be decoded. */
function numberIn(body: Uint8Array): number {
  // Only events of the run's producers are published.
  return (JSON.parse(Buffer.from(body).toString()) as { readonly n: number }).n
}
