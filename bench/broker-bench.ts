// The two sides of a broker that every workload uses: the bus and the bare client. Each can publish and consume.
import type { BrokerOptions } from 'eventspine'
import type { Order, OrderCreated } from './order.ts'

/** A place for events (a stream, an exchange with a queue, a topic), and a group that has handled none of them. */
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
  /** All handlers are called for each event. If one throws, the event is dead-lettered. */
  readonly handlers: readonly OrderHandler[]
  /** Number of aggregates handled concurrently by asynchronous handlers. Default 16. */
  readonly lanes?: number
  /** Maximum number of unacknowledged messages that the broker delivers, if it has such a limit. */
  readonly prefetch?: number
  /** Additional options of the bus. */
  readonly options?: BrokerOptions
  /** The classes to subscribe to. */
  readonly eventClasses?: readonly (typeof OrderCreated)[]
}

/** The bus or the bare client. */
export interface Side {
  publisher(scene: Scene, compression?: 'gzip'): Promise<Publisher>
  /** Resolves when events can arrive; they may arrive earlier. */
  consume(scene: Scene, consumption: Consumption): Promise<AsyncDisposable>
}

export interface BrokerBench extends AsyncDisposable {
  readonly bus: string
  readonly versions: Readonly<Record<string, string>>
  readonly ours: Side
  readonly raw: Side
  /** Number of events for a round of half a second or less. */
  readonly counts: {
    readonly batches: number
    readonly singles: number
    readonly consume: number
    /** For workloads that run with several sizes of one parameter. */
    readonly growth: number
    /** Number of messages that the bare client drains, while the bus drains 1,000,000; smaller if publishing is slow. */
    readonly rawDrain: number
  }
  /** Additional ways of publishing in batches that the broker supports. */
  readonly compressions: readonly 'gzip'[]
  /** Ways of consuming to compare; the first is the default. */
  readonly consumptions: readonly (Omit<Consumption, 'handlers'> & { readonly label: string })[]
  /** @returns a new scene without events. */
  scene(): Promise<Scene>
  /** @returns a scene with this number of events and aggregates. */
  backlog(count: number, aggregates?: number): Promise<Scene>
}
