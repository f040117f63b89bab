import type { DomainEvent, EventClass } from '../events/index.ts'
import { EventStreamMismatchError } from '../store/index.ts'
import { EventVersionError } from './errors.ts'
import { type DraftArguments, draft, type EventDraft, stamp } from './event-draft.ts'
import type { Evolve } from './evolution.ts'

let commit: (aggregate: AggregateRoot<unknown>, events: readonly DomainEvent[]) => void
let restore: (aggregate: AggregateRoot<unknown>, version: number, state: unknown) => void

/**
 * A thing with an identity whose state follows from its events. Commands check the state and {@link raise} events;
 * the state changes only by them.
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
    commit = (aggregate, events) => aggregate.#commit(events)
    restore = (aggregate, version, state) => aggregate.#restore(version, state)
  }

  readonly id: string
  #version = 0
  #uncommitted: readonly DomainEvent[] = []
  /** Wrapped, as a state may be undefined. */
  #current: { readonly state: State } | undefined

  constructor(id: string) {
    this.id = id
  }

  /** The state before the first event. */
  protected abstract readonly initialState: State

  /** What follows from each event; make it with `evolution`. */
  protected abstract readonly evolve: Evolve<State>

  /** Number of the last event, uncommitted ones included; 0 for a new aggregate. */
  get version(): number {
    return this.#version
  }

  get state(): State {
    return this.#current === undefined ? this.initialState : this.#current.state
  }

  /** The events raised since the aggregate was made, loaded or saved. */
  get uncommittedEvents(): readonly DomainEvent[] {
    return this.#uncommitted
  }

  /**
   * Replays stored events, each of which must follow the one before.
   * @throws EventVersionError, EventStreamMismatchError, UnhandledEventError; the aggregate is as before the event then.
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
   * Raises an event: gives it the aggregate's id and next version, and lets the state follow from it.
   * @throws EventValidationError when the payload is not valid; nothing has changed then.
   * @throws UnhandledEventError when no state follows from its class.
   */
  protected raise<C extends EventClass>(eventClass: C, ...input: DraftArguments<C>): void {
    this.raiseDrafts([draft(eventClass, ...input)])
  }

  /** Raises drafted events in order, all or none. @throws as {@link raise} */
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
    // A snapshot of this aggregate, of the schema version that its repository names.
    this.#current = { state: state as State }
  }
}

/** Takes events off the uncommitted ones: they are stored. */
export function markCommitted(aggregate: AggregateRoot<unknown>, events: readonly DomainEvent[]): void {
  commit(aggregate, events)
}

/** Puts a new aggregate into the state of a snapshot. */
export function restoreSnapshot(aggregate: AggregateRoot<unknown>, version: number, state: unknown): void {
  restore(aggregate, version, state)
}
