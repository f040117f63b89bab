// What a broker supplies to the works: the bus and the bare client, each able to publish and to consume.
import type { BrokerOptions } from 'eventspine'
import type { Order, OrderCreated } from './order.ts'

/** Where events lie (a stream, an exchange with a queue, a topic), and a group that has handled none of them. */
export interface Scene extends AsyncDisposable {
  readonly name: string
  readonly group: string
}

export type OrderHandler = (event: Order) => void | Promise<void>

export interface Publisher extends AsyncDisposable {
  /** Resolves when the broker has confirmed every event. */
  publish(events: readonly OrderCreated[]): Promise<unknown>
}

export interface Consumption {
  /** All are called for each event. One that throws gives the event to the dead letters. */
  readonly handlers: readonly OrderHandler[]
  /** Aggregates handled at the same time, where handlers are asynchronous. Default 16. */
  readonly lanes?: number
  /** Messages that the broker hands out before it waits for an acknowledgment, where it has such a limit. */
  readonly prefetch?: number
  /** Further options of the bus. */
  readonly options?: BrokerOptions
  /** The class to subscribe to. */
  readonly eventClass?: typeof OrderCreated
}

/** The bus or the bare client. */
export interface Side {
  publisher(scene: Scene, compression?: 'gzip'): Promise<Publisher>
  /** Resolves once events can arrive, and may do so before. */
  consume(scene: Scene, consumption: Consumption): Promise<AsyncDisposable>
}

export interface BrokerBench extends AsyncDisposable {
  readonly bus: string
  readonly versions: Readonly<Record<string, string>>
  readonly ours: Side
  readonly raw: Side
  /** How many events make a round of about half a second, or less. */
  readonly counts: {
    readonly batches: number
    readonly singles: number
    readonly consume: number
    /** For the works that are done for several sizes of something. */
    readonly growth: number
    /** What the bare client drains while ours drains 1,000,000: less where it takes long to publish. */
    readonly rawDrain: number
  }
  /** Ways of publishing in batches that the broker has, beside the plain one. */
  readonly compressions: readonly 'gzip'[]
  /** Ways of consuming that are compared; the first is the plain one. */
  readonly consumptions: readonly (Omit<Consumption, 'handlers'> & { readonly label: string })[]
  /** A new one without events. */
  scene(): Promise<Scene>
  /** One with so many events of so many aggregates. */
  backlog(count: number, aggregates?: number): Promise<Scene>
}
