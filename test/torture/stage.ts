import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Broker } from '../brokers/broker.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { waitFor } from '../support/wait-for.ts'
import type { Breakage } from './broken-transport.ts'
import type { HistoryWriter } from './history.ts'
import type { Random } from './random.ts'
import type { Tampering } from './tampered-client.ts'
import { SCOPE } from './torture-bus.ts'
import { TortureKafkaProxy } from './torture-kafka-proxy.ts'
import type { Trouble, WorkerOptions } from './worker.ts'

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url))
const START_MS = 30_000
/** Maximum duration of a shutdown, in milliseconds. A slower process is killed, which is a violation. */
const END_MS = 20_000

/** The role and options of a process. */
export interface Part {
  readonly role: 'producer' | 'consumer'
  readonly group: string
  readonly handlers: readonly string[]
  /** At most one consumer of the group has this name at a time. On Redis, a successor starts with the pending messages of its predecessor. */
  readonly consumerName: string
}

export interface StageParts {
  readonly broker: Broker
  /** Where the processes connect, each through a proxy. */
  readonly port: number
  readonly folder: string
  readonly history: HistoryWriter
  readonly random: Random
  readonly breakage: Breakage | Tampering | undefined
  /** Number of partitions. From 2 on, some events cannot be decoded. */
  readonly partitions: number
  /** Number of aggregates of each producer. */
  readonly aggregates: number
}

/** One process of a run, behind its own proxy. */
export class Actor {
  readonly name: string
  readonly part: Part
  readonly proxy: TcpProxy | TortureKafkaProxy
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  output = ''
  /** Set before the process is killed. */
  wasKilled = false

  constructor(name: string, part: Part, proxy: TcpProxy | TortureKafkaProxy, options: WorkerOptions) {
    this.name = name
    this.part = part
    this.proxy = proxy
    this.#child = spawn(process.execPath, ['--expose-gc', WORKER, JSON.stringify(options)], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.output = (this.output + String(chunk)).slice(-2000)
    })
    this.#ended = once(this.#child, 'close').then(() => undefined)
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

  /** Makes the next handler, or the next publish, misbehave. */
  trouble(trouble: Trouble): void {
    // A process that has ended does not receive it.
    this.#child.send(trouble, () => undefined)
  }

  /** Waits for the end of the process. @returns false if it does not end in time. */
  async ended(timeoutMs: number): Promise<boolean> {
    const late = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => late.resolve(false), timeoutMs)
    const isOver = await Promise.race([this.#ended.then(() => true), late.promise])
    clearTimeout(timer)
    return isOver
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
    const { broker, port, folder, random, breakage, partitions, aggregates } = this.parts
    this.#count += 1
    const name = `${part.group}-${this.#count}`
    const proxy =
      broker.kind === 'kafka'
        ? await TortureKafkaProxy.start(port)
        : await TcpProxy.start({ host: '127.0.0.1', port })
    const bus = {
      kind: broker.kind,
      port: proxy.port,
      scope: SCOPE,
      consumerGroup: part.group,
      consumerName: part.consumerName,
      partitions,
      ...(breakage === undefined ? {} : { breakage }),
    }
    const seed = random.integer(1, 1e9)
    const { role, handlers } = part
    const hasPoison = partitions > 1
    const all = { name, folder, seed, bus, role, handlers, aggregates, hasPoison }
    const actor = new Actor(name, part, proxy, all)
    this.#actors.add(actor)
    return actor
  }

  /** Asks a process to shut down and exit. */
  async stop(actor: Actor): Promise<void> {
    actor.signal('SIGTERM')
    if (await actor.ended(END_MS)) return this.recordEnd(actor)
    actor.signal('SIGKILL')
    await actor.ended(START_MS)
    this.#forget(actor)
  }

  /** Records how a process ended. */
  recordEnd(actor: Actor): void {
    const { exitCode, wasKilled, output, name } = actor
    const fact = { kind: 'processEnded', process: name, exitCode, wasKilled, output } as const
    this.parts.history.record(fact)
    this.#forget(actor)
  }

  /** Waits until a process has recorded that it consumes. */
  async untilConsuming(actor: Actor, isConsuming: (name: string) => boolean): Promise<void> {
    await waitFor(() => isConsuming(actor.name) || !actor.isRunning, {
      timeoutMs: START_MS,
      intervalMs: 50,
      describe: () => `${actor.name} to consume; it wrote: ${actor.output}`,
    })
  }

  /** Ends all processes, in any state. */
  async clear(): Promise<void> {
    for (const actor of this.actors) {
      actor.signal('SIGKILL')
      await actor.ended(START_MS)
      this.#forget(actor)
    }
  }

  #forget(actor: Actor): void {
    actor.proxy.close()
    this.#actors.delete(actor)
  }
}
