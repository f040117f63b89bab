import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { settledWithin } from '../kit/time.ts'
import type { HistoryWriter } from './history.ts'
import type { Line } from './line.ts'
import type { Message, Part, WorkerOptions } from './messages.ts'
import type { Random } from './random.ts'

/** Maximum time until a killed process has ended, in milliseconds. */
const KILL_MS = 30_000
/** Maximum duration of a shutdown, in milliseconds. A slower process is killed, which is a violation. */
const END_MS = 20_000

/** How to start a process. */
export interface Launch {
  /** A module that calls `startWorker`. */
  readonly program: string
  readonly execArgv: readonly string[]
  /** What the module needs in addition. */
  readonly more: object
  /** Its connections; undefined if the process itself breaks them on request. */
  readonly line: Line | undefined
}

export interface StageParts {
  readonly folder: string
  readonly history: HistoryWriter
  readonly random: Random
  readonly launch: (part: Part) => Promise<Launch>
  /** True if some events cannot be decoded. */
  readonly hasPoison: boolean
  /** Number of aggregates of each producer. */
  readonly aggregates: number
  /** After this time without a sign of life, in milliseconds, a consumer loses its messages. */
  readonly leaseMs: number
  /** The `handlerTimeoutMs` of the consumers. */
  readonly handlerTimeoutMs: number
}

/** One process of a run. */
export class Actor {
  readonly name: string
  readonly part: Part
  readonly line: Line
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  output = ''
  /** Set before the process is killed. */
  wasKilled = false

  constructor({ part, ...options }: WorkerOptions, { program, execArgv, more, line }: Launch) {
    this.name = options.name
    this.part = part
    this.line = line ?? this.#ownLine()
    this.#child = spawn(process.execPath, [...execArgv, program], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.output = (this.output + String(chunk)).slice(-2000)
    })
    this.#ended = once(this.#child, 'close').then(() => undefined)
    // Not as an argument, which other users could read: the options may contain a password.
    this.send({ kind: 'options', options: { ...options, part, ...more } })
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  get exitCode(): number | null {
    return this.#child.exitCode
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Sends a message to the process: makes the next handler, or the next publish, misbehave, for example. */
  send(message: Message): void {
    // A process that has ended does not receive it.
    this.#child.send(message, () => undefined)
  }

  /** Waits for the end of the process. @returns false if it does not end in time. */
  ended(timeoutMs: number): Promise<boolean> {
    return settledWithin(this.#ended, timeoutMs)
  }

  #ownLine(): Line {
    const ask = (change: 'cut' | 'freeze' | 'thaw') => () => this.send({ kind: 'line', change })
    return {
      ...{ cut: ask('cut'), freeze: ask('freeze'), thaw: ask('thaw'), close: () => undefined },
      degrade: (quality) => this.send({ kind: 'line', change: 'degrade', latencyMs: quality?.latencyMs }),
    }
  }
}

/** The processes of a run: starts and ends them, and records how they ended. */
export class Stage {
  readonly parts: StageParts
  readonly #actors = new Set<Actor>()
  #count = 0

  constructor(parts: StageParts) {
    this.parts = parts
  }

  get actors(): readonly Actor[] {
    return [...this.#actors]
  }

  get producers(): readonly Actor[] {
    return this.actors.filter(({ part }) => part.role === 'producer')
  }

  get consumers(): readonly Actor[] {
    return this.actors.filter(({ part }) => part.role === 'consumer')
  }

  async start(part: Part): Promise<Actor> {
    const { folder, random, launch, hasPoison, aggregates } = this.parts
    this.#count += 1
    const name = `${part.role === 'producer' ? 'producer' : part.group}-${this.#count}`
    const seed = random.integer(1, 1e9)
    const actor = new Actor({ name, folder, seed, part, aggregates, hasPoison }, await launch(part))
    this.#actors.add(actor)
    return actor
  }

  /** Asks a process to shut down and exit. */
  async stop(actor: Actor): Promise<void> {
    actor.send({ kind: 'stop' })
    if (await actor.ended(END_MS)) return this.recordEnd(actor)
    actor.signal('SIGKILL')
    await actor.ended(KILL_MS)
    this.#forget(actor)
  }

  /** Records how a process ended. */
  recordEnd(actor: Actor): void {
    const { exitCode, wasKilled, output, name } = actor
    const fact = { kind: 'processEnded', process: name, exitCode, wasKilled, output } as const
    this.parts.history.record(fact)
    this.#forget(actor)
  }

  /** Ends all processes, in any state. */
  async clear(): Promise<void> {
    for (const actor of this.actors) {
      actor.signal('SIGKILL')
      await actor.ended(KILL_MS)
      this.#forget(actor)
    }
  }

  #forget(actor: Actor): void {
    actor.line.close()
    this.#actors.delete(actor)
  }
}
