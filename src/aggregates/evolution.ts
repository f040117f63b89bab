import type { DomainEvent, EventClass, EventOf } from '../events/index.ts'
import { UnhandledEventError } from './errors.ts'

/**
 * What follows from an event: the next state, made from the present one. Both are to be left unchanged.
 * Typed as a method, whose parameters may vary: so an aggregate of any state is an `AggregateRoot<unknown>`.
 */
export type Evolve<State> = { evolve(state: State, event: DomainEvent): State }['evolve']

/** An {@link Evolve} that is put together event class by event class. */
export interface Evolution<State> {
  /**
   * The state after an event.
   * @throws UnhandledEventError when its class was neither declared nor ignored.
   */
  (state: State, event: DomainEvent): State
  /**
   * A copy that also knows what follows from this class, or from each of several.
   * @throws TypeError when it is known already.
   */
  on<const C extends EventClass | readonly EventClass[]>(
    eventClass: C,
    next: (state: State, event: EventOf<C>) => State,
  ): Evolution<State>
  /** A copy that also lets events of these classes leave the state as it is. */
  ignore(...eventClasses: readonly EventClass[]): Evolution<State>
}

/**
 * Begins an {@link Evolution}; chain `on` and `ignore`.
 *
 * @example
 * const evolve = evolution<OrderState>()
 *   .on(OrderCreated, (state, { customerId }) => ({ ...state, customerId }))
 *   .on(OrderShipped, (state) => ({ ...state, isShipped: true }))
 *   .ignore(OrderViewed)
 */
export function evolution<State>(): Evolution<State> {
  return evolutionOf(new Map())
}

function evolutionOf<State>(steps: ReadonlyMap<string, Evolve<State>>): Evolution<State> {
  const evolve: Evolve<State> = (state, event) => {
    const step = steps.get(event.eventType)
    if (step === undefined) throw new UnhandledEventError(event.eventType)
    return step(state, event)
  }
  const declare = (classes: readonly EventClass[], step: Evolve<State>) => {
    const known = classes.find(({ eventType }) => steps.has(eventType))
    if (known !== undefined) throw new TypeError(`${known.eventType} is declared twice`)
    return evolutionOf(new Map([...steps, ...classes.map(({ eventType }) => [eventType, step] as const)]))
  }
  return Object.assign(evolve, {
    on<const C extends EventClass | readonly EventClass[]>(
      eventClass: C,
      next: (state: State, event: EventOf<C>) => State,
    ): Evolution<State> {
      const classes: readonly EventClass[] = Array.isArray(eventClass) ? eventClass : [eventClass]
      // Looked up by event type: only events of these classes get here.
      return declare(classes, next as Evolve<State>)
    },
    ignore: (...eventClasses: readonly EventClass[]) => declare(eventClasses, (state) => state),
  })
}
