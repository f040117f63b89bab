import { markCopy } from '../events/copies.ts'
import type { DomainEvent, EventClass } from '../events/index.ts'
import { EventStreamMismatchError } from '../store/index.ts'
import { EventVersionError } from './errors.ts'
import { type DraftArguments, draft, type EventDraft, stamp } from './event-draft.ts'
import type { Evolve } from './evolution.ts'
import { firstState, type InitialState } from './initial-state.ts'

let commit: (aggregate: AggregateRoot<unknown>, events: readonly DomainEvent[]) => void
let restore: (aggregate: AggregateRoot<unknown>, version: number, state: unknown) => void
let handledBy: (aggregate: AggregateRoot<unknown>) => readonly EventClass[]

/**
 * An entity with an id, whose state is computed from its events. Commands check the state and {@link raise} events;
 * only events change the state.
 *
 * @example
 * class Order extends AggregateRoot<OrderState> {
 *   protected readonly initialState: OrderState = { status: 'new' }
 *   protected readonly evolve = evolution<OrderState>()
 *     .on(OrderCreated, (state, { customerId }) => ({ ...state, status: 'placed', customerId }))
 *     .on(OrderShipped, (state) => ({ ...state, status: 'shipped' }))
 *
 *   ship(trackingNumber: string): void {
 *     if (this.state.status !== 'placed') throw new Error('nothing to ship')
 *     this.raise(OrderShipped, { trackingNumber })
 *   }
 * }
 */
export abstract class AggregateRoot<State> {
  static {
    markCopy(AggregateRoot.prototype)
    commit = (aggregate, events) => aggregate.#commit(events)
    restore = (aggregate, version, state) => aggregate.#restore(version, state)
    handledBy = ({ evolve }) => ('eventClasses' in evolve ? asClasses(evolve.eventClasses) : [])
  }

  readonly id: string
  #version = 0
  #uncommitted: readonly DomainEvent[] = []
  /** Wrapped in an object, because a state may be undefined. */
  #current: { readonly state: State } | undefined

  constructor(id: string) {
    this.id = id
  }

  /**
   * The state before the first event. Plain data is frozen deeply. If `evolve` changes the state in place, or the state
   * contains a map, a set, a date or an instance of a class, set a function that creates it for each aggregate.
   */
  protected abstract readonly initialState: InitialState<State>

  /** Returns the next state after an event; create it with `evolution`. */
  protected abstract readonly evolve: Evolve<State>

  /** Version of the last event, including uncommitted events; 0 for a new aggregate. */
  get version(): number {
    return this.#version
  }

  get state(): State {
    this.#current ??= { state: firstState(this.initialState) }
    return this.#current.state
  }

  /** The events raised since the aggregate was created, loaded or last saved. */
  get uncommittedEvents(): readonly DomainEvent[] {
    return this.#uncommitted
  }

  /**
   * Applies stored events. The version of each must follow the version of the previous event.
   * @throws EventVersionError, EventStreamMismatchError, UnhandledEventError; the event that caused it is not applied.
   */
  loadFromHistory(events: Iterable<DomainEvent>): void {
    for (const event of events) {
      if (event.aggregateId !== this.id) {
        throw new EventStreamMismatchError(event, {
          aggregateType: event.aggregateType,
          aggregateId: this.id,
        })
      }
      if (event.aggregateVersion !== this.#version + 1) throw new EventVersionError(event, this.#version + 1)
      this.#advance(this.evolve(this.state, event), 1)
    }
  }

  /**
   * Raises an event: creates it with the aggregate's id and next version, and applies it to the state.
   * @throws EventValidationError if the payload is not valid; then nothing changes.
   * @throws UnhandledEventError if `evolve` does not handle the event class; then nothing changes.
   */
  protected raise<C extends EventClass>(eventClass: C, ...input: DraftArguments<C>): void {
    this.raiseDrafts([draft(eventClass, ...input)])
  }

  /** Raises drafted events in order, all of them or none. @throws as {@link raise} does. */
  protected raiseDrafts(drafts: readonly EventDraft[]): void {
    let state = this.state
    const events = drafts.map((drafted, index) => {
      const event = stamp(drafted, this.id, this.#version + index + 1)
      state = this.evolve(state, event)
      return event
    })
    this.#advance(state, events.length)
    this.#uncommitted = [...this.#uncommitted, ...events]
  }

  #advance(state: State, count: number): void {
    this.#current = { state }
    this.#version += count
  }

  #commit(events: readonly DomainEvent[]): void {
    const saved = new Set(events.map(({ eventId }) => eventId))
    this.#uncommitted = this.#uncommitted.filter(({ eventId }) => !saved.has(eventId))
  }

  #restore(version: number, state: unknown): void {
    this.#version = version
    // The snapshot is of this aggregate and of the schema version of its repository, so its state has this type.
    this.#current = { state: state as State }
  }
}

/** The event classes that an aggregate declares with `evolution`; none if its `evolve` is another function. */
export function classesHandledBy(aggregate: AggregateRoot<unknown>): readonly EventClass[] {
  return handledBy(aggregate)
}

/** `evolution` has created the list. If a function of the user has such a property, its value is used. */
function asClasses(value: unknown): readonly EventClass[] {
  return Array.isArray(value) ? value : []
}

/** Removes stored events from the uncommitted ones. */
export function markCommitted(aggregate: AggregateRoot<unknown>, events: readonly DomainEvent[]): void {
  commit(aggregate, events)
}

/** Sets a new aggregate to the version and state of a snapshot. */
export function restoreSnapshot(aggregate: AggregateRoot<unknown>, version: number, state: unknown): void {
  restore(aggregate, version, state)
}
