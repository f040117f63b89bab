import { AggregateRoot } from './aggregate-root.ts'
import type { EventDraft } from './event-draft.ts'
import type { Evolve } from './evolution.ts'
import type { InitialState } from './initial-state.ts'

/**
 * An aggregate as two pure functions: `decide` turns a command into events, `evolve` returns the next state after an
 * event.
 *
 * @example
 * const order: Decider<OrderCommand, OrderState> = {
 *   initialState: { status: 'new' },
 *   evolve: evolution<OrderState>()
 *     .on(OrderPlaced, (state) => ({ ...state, status: 'placed' }))
 *     .on(OrderShipped, (state) => ({ ...state, status: 'shipped' })),
 *   decide(command, state) {
 *     if (state.status !== 'placed') throw new Error('nothing to ship')
 *     return [draft(OrderShipped, { trackingNumber: command.trackingNumber })]
 *   },
 * }
 * const orders = new AggregateRepository({ eventStore, aggregateType: 'Order', aggregateFactory: decided(order) })
 * await orders.retryOnConflict(id, (it) => it.execute({ trackingNumber: 'TRACK-1' }))
 */
export interface Decider<Command, State, Initial extends InitialState<State> = State> {
  /**
   * The state before the first event, which is frozen deeply. If `evolve` changes the state in place, set a function
   * that creates it for each aggregate: `Decider<Command, State, () => State>`.
   */
  readonly initialState: Initial
  readonly evolve: Evolve<State>
  /**
   * Returns the events that result from a command in a state. Throws an error to refuse the command. Must not change
   * the state.
   */
  readonly decide: (command: Command, state: State) => readonly EventDraft[]
}

/** An aggregate whose behavior is a {@link Decider}. */
export class DecidedAggregate<Command, State> extends AggregateRoot<State> {
  protected readonly initialState: InitialState<State>
  protected readonly evolve: Evolve<State>
  readonly #decide: Decider<Command, State>['decide']

  constructor(id: string, { initialState, evolve, decide }: Decider<Command, State, InitialState<State>>) {
    super(id)
    this.initialState = initialState
    this.evolve = evolve
    this.#decide = decide
  }

  /** Decides on a command and raises the resulting events. @throws any error of `decide`. */
  execute(command: Command): void {
    this.raiseDrafts(this.#decide(command, this.state))
  }
}

/** Creates the `aggregateFactory` of a repository from a {@link Decider}. */
export function decided<Command, State>(
  decider: Decider<Command, State, InitialState<State>>,
): (id: string) => DecidedAggregate<Command, State> {
  return (id) => new DecidedAggregate(id, decider)
}
