import { AssertionError } from 'node:assert'
import type { DeadLetter } from '../../bus/index.ts'
import type { DomainEvent, EventClass, EventOf } from '../../events/index.ts'
import { causationTree } from './causation-tree.ts'
import type { HandledEvent, PublishedEvent } from './records.ts'

/** What a run collected. */
export interface RunRecord {
  /** Ids of the events that the test itself published. */
  readonly given: ReadonlySet<string>
  readonly published: readonly PublishedEvent[]
  readonly handled: readonly HandledEvent[]
  readonly deadLetters: readonly DeadLetter[]
  /** A line for the tree, such as the seed of a shuffle. */
  readonly note: string | undefined
}

/** All that followed from one `publish` or `run` of a {@link TestBus}. The `expect` methods throw an error with the tree. */
export class TestRun {
  /** All published events, in order, with their causes; also those that the test published. */
  readonly publishes: readonly PublishedEvent[]
  /** All runs of handlers, in the order in which they ended. */
  readonly runs: readonly HandledEvent[]
  /** The dead letters that this run added. */
  readonly deadLetters: readonly DeadLetter[]
  readonly #given: ReadonlySet<string>
  readonly #note: string | undefined

  constructor({ given, published, handled, deadLetters, note }: RunRecord) {
    this.publishes = published
    this.runs = handled
    this.deadLetters = deadLetters
    this.#given = given
    this.#note = note
  }

  /** The events that were published, without those that the test gave to `publish`. */
  published(): readonly DomainEvent[]
  /** Those of one class. */
  published<C extends EventClass>(eventClass: C): readonly EventOf<C>[]
  published(eventClass?: EventClass): readonly DomainEvent[] {
    return this.publishes
      .filter(({ event, error }) => error === undefined && !this.#given.has(event.eventId))
      .map(({ event }) => event)
      .filter(({ eventType }) => eventClass === undefined || eventType === eventClass.eventType)
  }

  /** The successful runs of a handler, or of all handlers. */
  handled(handlerName?: string): readonly HandledEvent[] {
    return this.#runsOf(handlerName).filter(({ error }) => error === undefined)
  }

  /** The failed runs of a handler, or of all handlers. */
  failed(handlerName?: string): readonly HandledEvent[] {
    return this.#runsOf(handlerName).filter(({ error }) => error !== undefined)
  }

  /** @returns the published events of the class. @throws AssertionError if their number is another. */
  expectPublished<C extends EventClass>(eventClass: C, times = 1): readonly EventOf<C>[] {
    const events = this.published(eventClass)
    if (events.length !== times) {
      this.#fail(`${eventClass.eventType} published ${timesOf(times)}`, `published ${timesOf(events.length)}`)
    }
    return events
  }

  /** @throws AssertionError if an event of the class was published. */
  expectNotPublished(eventClass: EventClass): void {
    this.expectPublished(eventClass, 0)
  }

  /** @throws AssertionError if the number of successful runs of the handler is another. */
  expectHandled(handlerName: string, times = 1): void {
    const { length } = this.handled(handlerName)
    if (length !== times) {
      this.#fail(`handler ${handlerName} to succeed ${timesOf(times)}`, `it succeeded ${timesOf(length)}`)
    }
  }

  /** @throws AssertionError if the number of failed runs of the handler is another. */
  expectFailed(handlerName: string, times = 1): void {
    const { length } = this.failed(handlerName)
    if (length !== times) {
      this.#fail(`handler ${handlerName} to fail ${timesOf(times)}`, `it failed ${timesOf(length)}`)
    }
  }

  /** @throws AssertionError if a run of the handler, or of any handler, failed. */
  expectNoFailures(handlerName?: string): void {
    const [first] = this.failed(handlerName)
    if (first === undefined) return
    this.#fail(
      `no failures of ${handlerName ?? 'handlers'}`,
      `${first.handlerName} failed: ${first.error?.message}`,
    )
  }

  /** @returns the dead letters. @throws AssertionError if their number is another. */
  expectDeadLetters(count: number): readonly DeadLetter[] {
    const { length } = this.deadLetters
    if (length !== count) this.#fail(`${count} dead letters`, `there are ${length}`)
    return this.deadLetters
  }

  /** Which event caused which run of a handler, and which run published which event, as indented lines. */
  tree(): string {
    return causationTree(this.publishes, this.runs, this.#note)
  }

  #runsOf(handlerName: string | undefined): readonly HandledEvent[] {
    return this.runs.filter((run) => handlerName === undefined || run.handlerName === handlerName)
  }

  #fail(expected: string, actual: string): never {
    throw new AssertionError({ message: `Expected ${expected}, but ${actual}.\n\n${this.tree()}` })
  }
}

function timesOf(count: number): string {
  return count === 1 ? 'once' : `${count} times`
}
