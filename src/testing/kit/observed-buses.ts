import { AssertionError } from 'node:assert'
import { setTimeout as delay } from 'node:timers/promises'
import { BrokerEventBus, type DeadLetter, type EventBus } from '../../bus/index.ts'
import type { DomainEvent, EventClass } from '../../events/index.ts'
import { Activity } from './activity.ts'
import { refuseArrays } from './arguments.ts'
import { causationTree } from './causation-tree.ts'
import { type FailOptions, PlannedFaults } from './faults.ts'
import { Recorder } from './recorder.ts'
import type { HandledEvent, PublishedEvent } from './records.ts'
import { shuffled } from './shuffled.ts'
import { TestRun } from './test-run.ts'

/** Interval at which the buses are asked whether they hold messages, in milliseconds. */
const POLL_MS = 2

/** Options of `TestBus.on`. */
export interface ObserveOptions {
  /** Maximum time that one run may take, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number
}

interface ObservedBus {
  readonly name: string
  readonly bus: EventBus
}

/**
 * Buses of a program, observed by a test; see `TestBus.on`. A run consists of the events with the correlation ids of its first
 * events, so other events on the same broker do not matter. It ends when each handler of the buses has handled each of its
 * events, and no bus holds a message.
 */
export class ObservedBuses implements Disposable {
  readonly #buses: readonly ObservedBus[]
  readonly #timeoutMs: number
  readonly #activity = new Activity()
  readonly #faults = new PlannedFaults()
  readonly #recorder = new Recorder({
    activity: this.#activity,
    faults: this.#faults,
    nowMs: () => performance.now(),
    crash: () => {},
  })
  readonly #deadLetters = new Set<string>()
  #isBusy = false

  /** @internal */
  constructor(buses: EventBus | Readonly<Record<string, EventBus>>, { timeoutMs = 10_000 }: ObserveOptions) {
    const named = 'publish' in buses && typeof buses.publish === 'function' ? { default: buses } : buses
    // A bus has a method `publish`; a record of buses has none.
    this.#buses = Object.entries(named as Readonly<Record<string, EventBus>>).map(([name, bus]) => ({
      name,
      bus,
    }))
    this.#timeoutMs = timeoutMs
    for (const { name, bus } of this.#buses) this.#recorder.observe(bus, name)
  }

  /** Publishes events with the first bus. Resolves when everything that follows from them has ended. */
  publish(...events: readonly DomainEvent[]): Promise<TestRun> {
    return this.#run(() => this.#first.publish(events), { events })
  }

  /** Calls the program under test, which publishes to an observed bus. Resolves when everything that follows has ended. */
  run(action: () => unknown): Promise<TestRun> {
    return this.#run(action, { isOurs: true })
  }

  /** Publishes an event with the same id once more. An idempotent handler has no further effect. */
  redeliver(event: DomainEvent): Promise<TestRun> {
    return this.publish(event)
  }

  /** Publishes the events one by one in another order, in which those of one aggregate keep theirs. */
  shuffle(
    events: readonly DomainEvent[],
    { seed = Math.floor(Math.random() * 2 ** 31) }: { readonly seed?: number } = {},
  ): Promise<TestRun> {
    const publish = async () => {
      for (const event of shuffled(events, seed)) await this.#first.publish([event])
    }
    return this.#run(publish, { events, note: `(shuffled with seed ${seed})` })
  }

  /** Lets the next runs of a handler fail before they start. The delays between attempts take their time. */
  fail(handlerName: string, options: FailOptions = {}): void {
    this.#faults.fail(handlerName, options)
  }

  /**
   * Ends the observation. The buses go on.
   * @throws AssertionError if a handler published after it had ended, or if an ordered fault has not happened.
   */
  stop(): void {
    this.#recorder.stop()
    const open = this.#faults.open.map((name) => `The fault of ${name} has not happened: it was not called.`)
    const complaints = [...this.#recorder.complaints.splice(0), ...open]
    if (complaints.length === 0) return
    throw new AssertionError({ message: `${complaints.join('\n')}\n\n${this.#recorder.tree()}` })
  }

  [Symbol.dispose](): void {
    this.stop()
  }

  get #first(): EventBus {
    const [first] = this.#buses
    if (first !== undefined) return first.bus
    throw new TypeError('TestBus.on needs at least one bus.')
  }

  async #run(action: () => unknown, { events = [], note, isOurs = false }: RunOptions): Promise<TestRun> {
    if (this.#recorder.isInHandler) {
      throw new TypeError('A handler must publish with its bus: a call of the kit waits for the handler.')
    }
    if (this.#isBusy) throw new TypeError('Await the previous call of the kit first.')
    refuseArrays(events)
    this.#assertConsuming()
    this.#isBusy = true
    this.#recorder.reset()
    const startedAt = new Date()
    const given = new Set(events.map(({ eventId }) => eventId))
    const ids = new Set(events.map(({ correlationId }) => correlationId))
    const records = () => this.#recordsOf(isOurs ? this.#rootsAnd(ids) : ids)
    try {
      await action()
      await this.#whenEnded(records)
      const { published, handled } = records()
      const deadLetters = await this.#deadLettersOf(handled, startedAt)
      const run = new TestRun({ given, published, handled, deadLetters, note })
      const complaints = this.#recorder.complaints.splice(0)
      if (complaints.length === 0) return run
      throw new AssertionError({ message: `${complaints.join('\n')}\n\n${run.tree()}` })
    } finally {
      this.#isBusy = false
    }
  }

  #assertConsuming(): void {
    const idle = this.#buses.filter(({ bus }) => hasHandlers(bus) && !bus.isConsuming).map(({ name }) => name)
    if (idle.length > 0) throw new TypeError(`${idle.join(', ')} must consume: await whenConsuming() first.`)
  }

  /** Also the correlation ids of the events that were published outside of handlers. */
  #rootsAnd(ids: ReadonlySet<string>): ReadonlySet<string> {
    const roots = this.#recorder.published.filter(({ by }) => by === undefined)
    return new Set([...ids, ...roots.map(({ event }) => event.correlationId)])
  }

  #recordsOf(ids: ReadonlySet<string>): Records {
    const { published, handled } = this.#recorder
    const has = ({ event }: { readonly event: DomainEvent }) => ids.has(event.correlationId)
    return { published: published.filter(has), handled: handled.filter(has) }
  }

  /** @throws AssertionError at the deadline. It lists what is missing. */
  async #whenEnded(recordsOfRun: () => Records): Promise<void> {
    const deadline = performance.now() + this.#timeoutMs
    for (;;) {
      const records = recordsOfRun()
      const missing = this.#activity.running > 0 ? ['handlers and publishes run'] : this.#missing(records)
      if (missing.length === 0) return
      if (performance.now() > deadline) {
        const tree = causationTree(records.published, records.handled, undefined)
        throw new AssertionError({
          message: `After ${this.#timeoutMs} ms: ${missing.join(', ')}.\n\n${tree}`,
        })
      }
      await delay(POLL_MS)
    }
  }

  /** What the run waits for. */
  #missing({ published, handled }: Records): readonly string[] {
    const missing: string[] = []
    for (const { name, bus } of this.#buses) {
      for (const [event, expected] of expectedRuns(bus, published)) {
        const runs = handled.filter(
          ({ service, event: { eventId } }) => service === name && eventId === event.eventId,
        )
        if (runs.length < expected)
          missing.push(`${name} has not handled ${event.eventType} of ${event.aggregateId}`)
      }
      const inFlight = bus instanceof BrokerEventBus ? bus.getStats().inFlight : 0
      if (inFlight > 0) missing.push(`${name} holds ${inFlight} messages`)
    }
    return missing
  }

  /** The dead letters of the events that failed in this run. */
  async #deadLettersOf(handled: readonly HandledEvent[], startedAt: Date): Promise<readonly DeadLetter[]> {
    const failed = new Set(
      handled.filter(({ error }) => error !== undefined).map(({ event }) => event.eventId),
    )
    if (failed.size === 0) return []
    const added: DeadLetter[] = []
    for (const { bus } of this.#buses) {
      if (!(bus instanceof BrokerEventBus)) continue
      for await (const letter of allDeadLetters(bus)) {
        const { id, eventId, lastFailedAt = startedAt } = letter
        if (!failed.has(eventId ?? '') || lastFailedAt < startedAt || this.#deadLetters.has(id)) continue
        this.#deadLetters.add(id)
        added.push(letter)
      }
    }
    return added
  }
}

interface RunOptions {
  /** The events that the test itself publishes. */
  readonly events?: readonly DomainEvent[]
  readonly note?: string
  /** True if every publish outside of handlers belongs to the run. Default false: only the given events do. */
  readonly isOurs?: boolean
}

interface Records {
  readonly published: readonly PublishedEvent[]
  readonly handled: readonly HandledEvent[]
}

const hasHandlers = (bus: EventBus): boolean =>
  bus.getSubscriberCount() + bus.getWildcardSubscriberCount() > 0

/** Each event that was published, with the least number of runs of handlers on a bus. */
function expectedRuns(bus: EventBus, published: readonly PublishedEvent[]): Map<DomainEvent, number> {
  const first = new Map<string, DomainEvent>()
  const expected = new Map<DomainEvent, number>()
  for (const { event, error } of published) {
    if (error !== undefined) continue
    const known = first.get(event.eventId) ?? event
    first.set(event.eventId, known)
    // The class of an event that a program published.
    const eventClass = event.constructor as EventClass
    const handlers = bus.getSubscriberCount(eventClass) + bus.getWildcardSubscriberCount()
    expected.set(known, (expected.get(known) ?? 0) + handlers)
  }
  return expected
}

async function* allDeadLetters(bus: BrokerEventBus): AsyncGenerator<DeadLetter> {
  let cursor: string | undefined
  do {
    const page = await bus.deadLetters.list(cursor === undefined ? {} : { cursor })
    yield* page.deadLetters
    cursor = page.cursor
  } while (cursor !== undefined)
}
