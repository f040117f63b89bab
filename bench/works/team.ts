import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { BrokerEventBus } from 'eventspine'
import { RabbitMQEventBus } from 'eventspine/rabbitmq'
import { RedisEventBus } from 'eventspine/redis'
import { silent } from '../brokers/silent.ts'
import { OrderCreated, orderEvents } from '../order.ts'

export interface TeamOptions {
  readonly kind: 'redis' | 'rabbitmq'
  readonly url: string
  readonly workers: number
  readonly partitions: number
  /** Duration of the asynchronous handler; 0 for a synchronous one. */
  readonly handlerMs: number
}

/** The place that a team consumes from. */
export interface TeamPlace extends TeamOptions {
  readonly name: string
}

/** A message of a worker: how many events it has handled since the last one. */
export type TeamReport = { readonly markers: number; readonly events: number }

/** What a worker is told: let handlers wait, or run. */
export type TeamOrder = 'hold' | 'run'

/** Enough aggregates that each partition has several. */
const AGGREGATES = 400

/** The bus of a worker, or of the publisher. */
export function teamBus({ kind, url, name, partitions }: TeamPlace): BrokerEventBus {
  const common = { partitions, concurrency: 16, consumerGroup: 'team', logger: silent }
  return kind === 'redis'
    ? new RedisEventBus({ redisUrl: url, streamPrefix: name, ...common })
    : new RabbitMQEventBus({ rabbitmqUrl: url, exchangeName: name, prefetchCount: 100, ...common })
}

/** A group of worker processes that drains one backlog after the other. */
export class Team implements AsyncDisposable {
  readonly #children: readonly ChildProcess[]
  readonly #publisher: BrokerEventBus
  readonly #markers: number[]
  #events = 0
  #onReport: () => void = () => undefined

  /** Resolves when each worker has its share. */
  static async start(options: TeamOptions): Promise<Team> {
    const place = { ...options, name: `bench-${randomUUID()}` }
    const program = fileURLToPath(new URL('team-worker.ts', import.meta.url))
    const children = Array.from({ length: options.workers }, () => fork(program, [JSON.stringify(place)]))
    const publisher = teamBus(place)
    await Promise.all([publisher.connect(), ...children.map((child) => once(child, 'message'))])
    const team = new Team(children, publisher)
    await team.#balance()
    return team
  }

  private constructor(children: readonly ChildProcess[], publisher: BrokerEventBus) {
    this.#children = children
    this.#publisher = publisher
    this.#markers = children.map(() => 0)
    for (const [index, child] of children.entries()) {
      child.on('message', (message) => {
        // The worker sends nothing else.
        const { markers, events } = message as TeamReport
        this.#markers[index] = (this.#markers[index] ?? 0) + markers
        this.#events += events
        this.#onReport()
      })
    }
  }

  /** Publishes a backlog while the handlers wait. @returns events per second from the moment at which they may run. */
  async drain(count: number): Promise<number> {
    this.#send('hold')
    this.#events = 0
    for (let first = 0; first < count; first += 1000)
      await this.#publisher.publish(orderEvents(Math.min(1000, count - first), AGGREGATES, first))
    const start = performance.now()
    this.#send('run')
    await this.#until(() => this.#events >= count)
    return (count / (performance.now() - start)) * 1000
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill('SIGTERM')
    await Promise.all(this.#children.map((child) => once(child, 'exit')))
    await this.#publisher.shutdown()
  }

  /** Publishes one event for each aggregate until no worker handles more than twice as many as another. */
  async #balance(): Promise<void> {
    for (let isEven = false; !isEven; ) {
      this.#markers.fill(0)
      const sum = () => this.#markers.reduce((total, markers) => total + markers, 0)
      await this.#publisher.publish(
        Array.from({ length: AGGREGATES }, (_, index) => {
          return new OrderCreated({ aggregateId: `Order-${index}`, customerId: 'c-1', total: -1 })
        }),
      )
      await this.#until(() => sum() >= AGGREGATES)
      isEven = Math.max(...this.#markers) <= 2 * Math.min(...this.#markers)
    }
  }

  #send(order: TeamOrder): void {
    for (const child of this.#children) child.send(order)
  }

  async #until(isMet: () => boolean): Promise<void> {
    const met = Promise.withResolvers<void>()
    this.#onReport = () => {
      if (isMet()) met.resolve()
    }
    this.#onReport()
    await met.promise
  }
}
