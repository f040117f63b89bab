import type { DomainEvent, EventClass, EventOf } from '../events/index.ts'
import { UnhandledEventError } from './errors.ts'

/**
 * Returns the next state from the current state and an event. It must change neither. The type is that of a method,
 * because parameters of methods are bivariant: an aggregate with any state is then an `AggregateRoot<unknown>`.
 */
export type Evolve<State> = { evolve(state: State, event: DomainEvent): State }['evolve']

/** An {@link Evolve} that is built event class by event class. */
export interface Evolution<State> {
  /**
   * Returns the state after an event.
   * @throws UnhandledEventError if its class is declared neither with `on` nor with `ignore`.
   */
  (state: State, event: DomainEvent): State
  /**
   * Returns a copy that also handles events of this class, or of several classes.
   * @throws TypeError if a class is declared already.
   */
  on<const C extends EventClass | readonly EventClass[]>(
    eventClass: C,
    next: (state: State, event: EventOf<C>) => State,
  ): Evolution<State>
  /**
   * Returns a copy in which events of these classes do not change the state. @throws TypeError if a class is declared
   * already.
   */
  ignore(...eventClasses: readonly EventClass[]): Evolution<State>
  /** The declared classes. */
  readonly eventClasses: readonly EventClass[]
}

/**
 * Starts an {@link Evolution}; chain `on` and `ignore`.
 *
 * @example
 * const evolve = evolution<OrderState>()
 *   .on(OrderCreated, (state, { customerId }) => ({ ...state, customerId }))
 *   .on(OrderShipped, (state) => ({ ...state, status: 'shipped' }))
 *   .ignore(OrderViewed)
 */
export function evolution<State>(): Evolution<State> {
  return evolutionOf(new Map(), [])
}

function evolutionOf<State>(
  steps: ReadonlyMap<string, Evolve<State>>,
  eventClasses: readonly EventClass[],
): Evolution<State> {
  const evolve: Evolve<State> = (state, event) => {
    const step = steps.get(event.eventType)
    if (step === undefined) throw new UnhandledEventError(event.eventType)
    return step(state, event)
  }
  const declare = (classes: readonly EventClass[], step: Evolve<State>) => {
    const known = classes.find(({ eventType }) => steps.has(eventType))
    if (known !== undefined) throw new TypeError(`${known.eventType} is declared twice.`)
    const more = classes.map(({ eventType }) => [eventType, step] as const)
    return evolutionOf(new Map([...steps, ...more]), [...eventClasses, ...classes])
  }
  return Object.assign(evolve, {
    eventClasses,
    on<const C extends EventClass | readonly EventClass[]>(
      eventClass: C,
      next: (state: State, event: EventOf<C>) => State,
    ): Evolution<State> {
      const classes: readonly EventClass[] = Array.isArray(eventClass) ? eventClass : [eventClass]
      // `next` is looked up by event type, so it gets only events of these classes.
      return declare(classes, next as Evolve<State>)
    },
    ignore: (...eventClasses: readonly EventClass[]) => declare(eventClasses, (state) => state),
  })
}
