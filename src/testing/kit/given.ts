import { AssertionError } from 'node:assert'
import { inspect, isDeepStrictEqual } from 'node:util'
import type {
  AggregateFactory,
  AggregateRoot,
  Decider,
  EventDraft,
  InitialState,
} from '../../aggregates/index.ts'
import { decided } from '../../aggregates/index.ts'
import { describeValue } from '../../errors.ts'
import type { DomainEvent } from '../../events/index.ts'

/** The id of the aggregate in a specification. */
const AGGREGATE_ID = 'aggregate-1'

/** An expectation of one command. Asynchronous if the command is. */
type Outcome<Result> = Result extends Promise<unknown> ? Promise<void> : undefined

/** What a command did: the events that it raised, or its error. */
export class CommandResult<Result> {
  readonly #result: unknown
  readonly #raised: () => readonly DomainEvent[]
  readonly #error: { readonly thrown: unknown } | undefined

  /** @internal */
  constructor(run: () => Result, raised: () => readonly DomainEvent[]) {
    this.#raised = raised
    try {
      this.#result = run()
    } catch (thrown) {
      this.#error = { thrown }
    }
  }

  /**
   * Expects exactly these events in this order, by type and payload.
   * @throws AssertionError, or the error of the command.
   */
  expect(drafts: readonly EventDraft[]): Outcome<Result> {
    return this.#settled((error) => {
      if (error !== undefined) throw error.thrown
      const raised = this.#raised()
      const expected = drafts.map((draft, index) =>
        comparable(stamped(draft, raised[index]?.aggregateVersion ?? index + 1)),
      )
      const actual = raised.map(comparable)
      if (!isDeepStrictEqual(actual, expected)) fail('these events', expected, actual)
    })
  }

  /** Expects that the command raised no event. */
  expectNothing(): Outcome<Result> {
    return this.expect([])
  }

  /**
   * Expects that the command was refused.
   * @param matching - the class of the error, or a pattern that its message matches.
   */
  expectError(matching?: RegExp | (abstract new (...args: never) => Error)): Outcome<Result> {
    return this.#settled((error) => {
      if (error === undefined) fail('an error', matching ?? 'any', this.#raised().map(comparable))
      else if (matching !== undefined && !isMatch(error.thrown, matching))
        fail('an error', matching, error.thrown)
    })
  }

  #settled(check: (error: { readonly thrown: unknown } | undefined) => void): Outcome<Result> {
    const result = this.#result
    if (result instanceof Promise) {
      const checked = result.then(
        () => check(undefined),
        (thrown: unknown) => check({ thrown }),
      )
      // The result is a promise, so the outcome is one.
      return checked as unknown as Outcome<Result>
    }
    check(this.#error)
    return undefined as Outcome<Result>
  }
}

/** An aggregate with its history. */
export interface AggregateSpecification<A> {
  /** Runs a command on the aggregate. */
  when<Result>(command: (aggregate: A) => Result): CommandResult<Result>
}

/** A decider with its history. */
export interface DeciderSpecification<Command> {
  /** Decides on a command. */
  when(command: Command): CommandResult<void>
}

/**
 * Specifies an aggregate or a decider: given these events, when this command runs, expect those events.
 *
 * @param subject - the class of an aggregate, a function that creates one for an id, or a decider.
 * @param history - the events before the command, as drafts.
 * @example
 * given(Order, [draft(OrderPlaced, { total: 42 })])
 *   .when((order) => order.ship('TRACK-1'))
 *   .expect([draft(OrderShipped, { trackingNumber: 'TRACK-1' })])
 */
export function given<Command, State>(
  subject: Decider<Command, State, InitialState<State>>,
  history: readonly EventDraft[],
): DeciderSpecification<Command>
export function given<A extends AggregateRoot<unknown>>(
  subject: AggregateFactory<A>,
  history: readonly EventDraft[],
): AggregateSpecification<A>
export function given(
  subject: AggregateFactory<AggregateRoot<unknown>> | Decider<unknown, unknown, InitialState<unknown>>,
  history: readonly EventDraft[],
): AggregateSpecification<AggregateRoot<unknown>> | DeciderSpecification<unknown> {
  const events = history.map((draft, index) => stamped(draft, index + 1))
  if (typeof subject === 'object') {
    return {
      when: (command: unknown) => {
        const aggregate = decided(subject)(AGGREGATE_ID)
        aggregate.loadFromHistory(events)
        return new CommandResult(
          () => aggregate.execute(command),
          () => aggregate.uncommittedEvents,
        )
      },
    }
  }
  return {
    when: <Result>(command: (aggregate: AggregateRoot<unknown>) => Result) => {
      const aggregate = created(subject)
      aggregate.loadFromHistory(events)
      return new CommandResult(
        () => command(aggregate),
        () => aggregate.uncommittedEvents,
      )
    },
  }
}

/** Options of {@link project}. */
export interface ProjectOptions {
  /** Handle each event twice, as after a crash. The result of an idempotent projection is the same. Default false. */
  readonly twice?: boolean
}

/**
 * Handles events with a projection, one after the other. The state of the projection is then for the test to compare.
 *
 * @param projection - a function, or an object with `handle`. An event that its `canHandle` refuses is left out.
 * @param history - the events, as drafts.
 */
export async function project(
  projection: Projection | Projection['handle'],
  history: readonly (EventDraft | DomainEvent)[],
  { twice = false }: ProjectOptions = {},
): Promise<void> {
  const { handle, canHandle }: Projection =
    typeof projection === 'function' ? { handle: projection } : bound(projection)
  // The test passes the events that the projection handles.
  const run = handle as (event: DomainEvent) => unknown
  const isHandled = canHandle as ((event: DomainEvent) => boolean) | undefined
  for (const [index, item] of history.entries()) {
    const event = 'eventClass' in item ? stamped(item, index + 1) : item
    for (let time = 0; time < (twice ? 2 : 1); time += 1) {
      if (isHandled?.(event) !== false) await run(event)
    }
  }
}

/** What {@link project} needs of a projection. Its methods take events of its own classes. */
export interface Projection {
  handle(event: never): unknown
  canHandle?(event: never): boolean
}

function stamped(draft: EventDraft, aggregateVersion: number): DomainEvent {
  if (typeof Object(draft).eventClass !== 'function') {
    throw new TypeError(
      `A draft is needed, such as draft(OrderPlaced, { total: 42 }), got ${describeValue(draft)}.`,
    )
  }
  const { eventClass, input } = draft
  // The compiler has checked the input against the class where the draft was created.
  const Class = eventClass as unknown as new (input: object) => DomainEvent
  return new Class({ ...input, aggregateId: AGGREGATE_ID, aggregateVersion })
}

/** The methods of a projection, as functions. */
function bound(projection: Projection): Pick<Projection, 'handle'> & Partial<Projection> {
  const handle = projection.handle.bind(projection)
  return projection.canHandle === undefined
    ? { handle }
    : { handle, canHandle: projection.canHandle.bind(projection) }
}

function created<A extends AggregateRoot<unknown>>(factory: AggregateFactory<A>): A {
  const isClass = /^class\b/.test(Function.prototype.toString.call(factory))
  // The source of the function says which of the two it is.
  return isClass
    ? new (factory as new (id: string) => A)(AGGREGATE_ID)
    : (factory as (id: string) => A)(AGGREGATE_ID)
}

/** The fields of an event's JSON form that no test can foresee, or that follow from the order. */
const ENVELOPE = new Set([
  'event_id',
  'event_version',
  'occurred_at',
  'aggregate_id',
  'aggregate_type',
  'aggregate_version',
  'tenant_id',
  'actor_id',
  'correlation_id',
  'causation_id',
  'metadata',
])

/** The type and the payload. */
function comparable(event: DomainEvent): Record<string, unknown> {
  return Object.fromEntries(Object.entries(event.toJSON()).filter(([name]) => !ENVELOPE.has(name)))
}

function isMatch(thrown: unknown, matching: RegExp | (abstract new (...args: never) => Error)): boolean {
  if (matching instanceof RegExp) return thrown instanceof Error && matching.test(thrown.message)
  return thrown instanceof matching
}

function fail(what: string, expected: unknown, actual: unknown): never {
  const shown = (value: unknown) => inspect(value, { depth: 10 })
  throw new AssertionError({
    message: `Expected ${what}: ${shown(expected)}\nGot: ${shown(actual)}`,
    expected,
    actual,
  })
}
