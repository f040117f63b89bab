import { setTimeout as delay } from 'node:timers/promises'
import { type BrokerEventBus, PublishError } from '../bus/index.ts'
import { toError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import { type HandlerContext, type HandlingContext, ShutdownError } from '../handling/index.ts'
import { Spoiled, Tortured } from './events.ts'
import { HistoryWriter } from './history.ts'
import { innerParts } from './inner-parts.ts'
import type { LineChange, Message, Trouble, WorkerOptions } from './messages.ts'
import { handlesAfterwards, LatenessWatch, openHandles, watchUnhandled } from './process-watch.ts'
import { Random } from './random.ts'

/** Events and handlers of the user. */
export interface UserHandlers {
  readonly createEvent: (place: { readonly aggregateId: string; readonly n: number }) => DomainEvent
  readonly subscribe: (bus: BrokerEventBus) => unknown
}

export interface WorkerTools {
  readonly bus: BrokerEventBus
  /** Looks at what users and operators see. */
  readonly look?: (what: string, value: unknown) => void
  readonly changeLine?: (change: LineChange) => void
  /** Undefined for the events and handlers of the run. */
  readonly user?: UserHandlers | undefined
}

/** Runs this process as a producer or a consumer. @param prepare - gets the options that the run sends. */
export function startWorker<O extends WorkerOptions>(
  prepare: (options: O, history: HistoryWriter) => Promise<WorkerTools>,
): void {
  let worker: Worker | undefined
  const early: Message[] = []
  process.on('message', (received) => {
    // The run sends no other messages.
    const message = received as Message
    if (worker !== undefined) return worker.receive(message)
    if (message.kind !== 'options') return void early.push(message)
    // `prepare` is for the options of this run.
    const options = message.options as O
    const history = new HistoryWriter(options.folder, options.name)
    watchUnhandled(history)
    // The channel must not keep the process alive.
    process.channel?.unref()
    const handlesBefore = openHandles()
    prepare(options, history)
      .then(async (tools) => {
        worker = new Worker(options, history, tools)
        for (const one of early) worker.receive(one)
        await worker.run(handlesBefore)
      })
      .catch((thrown: unknown) => {
        const { message, stack } = toError(thrown)
        history.record({ kind: 'unhandled', what: 'unhandledRejection', error: stack ?? message })
        console.error(message)
        process.exit(1)
      })
  })
  process.on('disconnect', () => process.exit(1))
  // Ctrl-C reaches the whole process group: the run ends its processes itself.
  process.on('SIGINT', () => undefined)
}

class Worker {
  readonly #options: WorkerOptions
  readonly #history: HistoryWriter
  readonly #tools: WorkerTools
  readonly #random: Random
  readonly #stopping = new AbortController()
  /** The misbehavior of the next handler, or of the next publish. */
  #trouble: Trouble | undefined
  #heapBefore = 0

  constructor(options: WorkerOptions, history: HistoryWriter, tools: WorkerTools) {
    this.#options = options
    this.#history = history
    this.#tools = tools
    this.#random = new Random(options.seed)
  }

  receive(message: Message): void {
    if (message.kind === 'stop') this.#stopping.abort()
    else if (message.kind === 'line') this.#tools.changeLine?.(message)
    else if (message.kind !== 'options') this.#trouble = message
  }

  async run(handlesBefore: Readonly<Record<string, number>>): Promise<void> {
    const { bus, look } = this.#tools
    const lateness = new LatenessWatch(this.#history)
    bus.onNotice((notice) => look?.(`notice ${notice.type}`, notice))
    if (this.#options.part.role === 'producer') await this.#produce()
    else await this.#consume()
    // What an operator sees of the bus, once: health in the middle of the faults would be a load of its own.
    look?.('bus or its statistics', [bus, bus.getStats()])
    if (look !== undefined)
      look('health', await bus.health({ timeoutMs: 500 }).catch((error: unknown) => error))
    await bus.shutdown({ timeoutMs: 10_000 })
    lateness.end()
    const handlesAfter = await handlesAfterwards(handlesBefore)
    const measured = { stats: bus.getStats(), heapBefore: this.#heapBefore, heapAfter: heap() }
    this.#history.record({ kind: 'stats', ...measured, handlesBefore, handlesAfter })
    // Handlers of the user may keep connections open, to a database for example.
    if (this.#tools.user !== undefined) process.exit()
  }

  async #produce(): Promise<void> {
    const next = new Map<string, number>()
    while (!this.#stopping.signal.aborted) {
      const batch = Array.from({ length: this.#random.integer(1, 10) }, () => this.#nextEvent(next))
      await this.#publish(batch)
      await delay(this.#random.integer(10, 60))
      if (this.#heapBefore === 0) this.#heapBefore = heap()
    }
  }

  #nextEvent(next: Map<string, number>): Numbered {
    const random = this.#random
    const { name, aggregates, hasPoison } = this.#options
    const aggregateId = `${name}-${random.integer(1, aggregates)}`
    const n = next.get(aggregateId) ?? 0
    next.set(aggregateId, n + 1)
    if (this.#tools.user !== undefined) return { event: this.#tools.user.createEvent({ aggregateId, n }), n }
    if (hasPoison && random.oneIn(200)) return { event: new Spoiled({ aggregateId, n, failures: 'none' }), n }
    // Most events succeed at once, some after one or two failures, a few never.
    const failures = random.oneIn(30) ? random.pick([1, 1, 2, 99]) : 0
    return { event: new Tortured({ aggregateId, n, failures }), n }
  }

  async #publish(batch: readonly Numbered[]): Promise<void> {
    const facts = batch.map(({ event, n }) => {
      const { aggregateId: aggregate, eventId: id, eventType: type } = event
      const isPoison = event instanceof Spoiled && { isPoison: true }
      const users = this.#tools.user !== undefined && { id, type }
      return { event: `${aggregate}#${n}`, aggregate, n, ...isPoison, ...users }
    })
    for (const fact of facts) this.#history.record({ kind: 'published', ...fact })
    const publishing = this.#tools.bus.publish(batch.map(({ event }) => event))
    if (this.#trouble?.kind === 'die') setTimeout(die, this.#random.integer(0, 3))
    const outcomes = await publishing.then(
      () => batch.map(() => 'stored' as const),
      (error: unknown) => {
        this.#tools.look?.('error of a publish', error)
        if (!(error instanceof PublishError)) throw error
        return error.outcomes.map(({ status }) => status)
      },
    )
    for (const [index, { event, aggregate, n }] of facts.entries()) {
      const status = outcomes[index] ?? 'unknown'
      this.#history.record({ kind: status === 'stored' ? 'confirmed' : status, event, aggregate, n })
    }
  }

  async #consume(): Promise<void> {
    const { bus, user } = this.#tools
    const { group, handlers } = this.#options.part
    if (user === undefined) for (const name of handlers) this.#subscribe(name)
    else {
      bus.use((context, next) => this.#handle(context, next))
      await user.subscribe(bus)
    }
    bus.startConsumingInBackground()
    await bus.whenConsuming()
    this.#heapBefore = heap()
    const described = innerParts(bus).handlers.describe()
    const users = described.map(({ name, eventTypes }) => [name, eventTypes] as const)
    this.#history.record({ kind: 'consuming', group, ...(user !== undefined && { handlers: users }) })
    const { signal } = this.#stopping
    // The connections of the bus keep the process alive until then.
    if (!signal.aborted)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  }

  /** `steady` never fails, `flaky` fails as often as the event says. */
  #subscribe(name: string): void {
    const work = async (event: Tortured, { attempt, signal }: HandlerContext) =>
      this.#handle({ event, handlerName: name, attempt, signal }, async () => {
        if (name === 'flaky' && attempt <= event.failures) throw new Error('as told')
      })
    this.#tools.bus.subscribe(Tortured, work, { name })
  }

  /** Records a run of a handler, and misbehaves in its place. */
  async #handle(
    { event, handlerName, attempt, signal }: HandledRun,
    next: () => Promise<void>,
  ): Promise<void> {
    const fact = { group: this.#options.part.group, handler: handlerName, ...nameOf(event), attempt }
    this.#history.record({ kind: 'started', ...fact })
    let hasEnded = false
    const end = (kind: 'finished' | 'failed') => {
      if (!hasEnded) this.#history.record({ kind, ...fact })
      hasEnded = true
    }
    if (this.#random.oneIn(3)) await delay(this.#random.integer(0, 8))
    const trouble = this.#trouble
    this.#trouble = undefined
    if (trouble?.kind === 'exit') process.exit(3)
    if (trouble?.kind === 'block') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, trouble.ms)
    if (trouble?.kind === 'hang' || this.#tools.user !== undefined) {
      signal.addEventListener('abort', () => {
        // A shutdown that comes first is not a failure of the handler.
        if (!(signal.reason instanceof ShutdownError)) end('failed')
      })
    }
    if (trouble?.kind === 'hang') return new Promise(() => undefined)
    try {
      await next()
    } catch (error) {
      end('failed')
      throw error
    }
    end('finished')
    if (trouble?.kind === 'die') die()
  }
}

type HandledRun = Pick<HandlingContext, 'event' | 'handlerName' | 'attempt' | 'signal'>

interface Numbered {
  readonly event: DomainEvent
  /** Its position in its aggregate. */
  readonly n: number
}

/** The number of an event of the user is not known here; see `withNumbers`. */
function nameOf(event: DomainEvent) {
  const { aggregateId: aggregate } = event
  if (!(event instanceof Tortured)) return { event: event.eventId, aggregate, n: -1 }
  return { event: `${aggregate}#${event.n}`, aggregate, n: event.n }
}

/** Ends the process at once, without a shutdown. */
function die(): void {
  process.kill(process.pid, 'SIGKILL')
}

function heap(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}
