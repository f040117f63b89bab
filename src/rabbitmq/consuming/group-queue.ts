import { Mutex } from '../../kit/mutex.ts'
import { settledWithin } from '../../kit/time.ts'
import type { BusNotice } from '../../transport/notices.ts'
import type { RabbitMQConnection, WithChannel } from '../client/connection.ts'
import { registerGroup } from '../client/groups.ts'
import type { RabbitMQTopology } from '../client/topology.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { RabbitMQBindings } from './bindings.ts'

export interface GroupQueueParts {
  readonly options: ResolvedRabbitMQOptions
  readonly topology: RabbitMQTopology
  readonly bindings: RabbitMQBindings
  /** The consumer's connection. */
  readonly connection: RabbitMQConnection
  readonly notify: (notice: BusNotice) => void
  /** Uses the publisher's connection: during an alarm, publishing on the consumer's would block its acknowledgments. */
  readonly withPublisherChannel: WithChannel
}

/** How long the start of a consumer waits for its records to be written, in milliseconds. */
const RECORD_TIMEOUT_MS = 1000

/**
 * The group's queue on the broker, with its exchange, bindings and dead letter queue. Operations run one at a time: on
 * separate channels, a bind could overtake an unbind.
 */
export class RabbitMQGroupQueue {
  readonly #parts: GroupQueueParts
  readonly #mutex = new Mutex()
  #nextUpdate: Promise<void> | undefined

  constructor(parts: GroupQueueParts) {
    this.#parts = parts
  }

  /**
   * Declares all that consuming needs.
   * @param isKnown - true if this consumer has used the queue: its absence is then reported as a loss.
   */
  declare(isKnown: boolean): Promise<void> {
    const { connection, topology, bindings, options } = this.#parts
    return this.#mutex.runExclusive(async () => {
      const lost = isKnown ? await this.#missingQueues() : []
      if (options.enableDlq) await this.#declareDeadLetters()
      const otherConsumers = await connection.withChannel(async (channel) => {
        const consumers = await topology.declareForConsuming(channel)
        await bindings.start(channel)
        return consumers
      })
      await this.#writeRecords(otherConsumers === 0)
      for (const queue of lost) this.#reportLoss(queue)
    })
  }

  /** Applies changed bindings to the queue. Without a connection, the next {@link declare} applies them. */
  updateBindings(): Promise<void> {
    // Calls share an update that has not started yet.
    this.#nextUpdate ??= this.#mutex.runExclusive(() => {
      this.#nextUpdate = undefined
      return this.#update()
    })
    return this.#nextUpdate
  }

  /** Restores the exchanges and the bindings if they are gone: the broker does not notify a consumer of that. */
  check(): Promise<void> {
    const { connection, topology, bindings, notify } = this.#parts
    return this.#mutex.runExclusive(async () => {
      if (!connection.isOpen) return
      const gone: string[] = []
      for (const exchange of topology.exchanges) {
        if (await this.#isAbsent((channel) => channel.checkExchange(exchange))) gone.push(exchange)
      }
      await connection.withChannel(async (channel) => {
        if (gone.length > 0) await topology.declareForConsuming(channel)
        await bindings.repair(channel)
      })
      await this.#update()
      for (const exchange of gone) notify({ type: 'topologyRestored', what: `exchange ${exchange}` })
    })
  }

  async #update(): Promise<void> {
    const { connection, bindings, topology } = this.#parts
    if (!connection.isOpen || bindings.isCurrent) return
    const isOnlyConsumer = await connection.withChannel(async (channel) => {
      const isOnly = (await topology.countConsumers(channel)) <= 1
      await bindings.update(channel, isOnly)
      return isOnly
    })
    await this.#writeRecords(isOnlyConsumer)
  }

  async #missingQueues(): Promise<readonly string[]> {
    const missing: string[] = []
    for (const queue of this.#parts.topology.queues) {
      if (await this.#isAbsent((channel) => channel.checkQueue(queue))) missing.push(queue)
    }
    return missing
  }

  #reportLoss(queue: string): void {
    const { notify } = this.#parts
    const detail = `the queue ${queue} was deleted, with the messages in it`
    notify({ type: 'eventsLost', detail, count: undefined })
    notify({ type: 'topologyRestored', what: `queue ${queue}` })
  }

  /**
   * In a cluster, the dead letter queue may be on a node that is down, which the broker reports as not found. Dead letters
   * then wait for that node; consuming need not.
   */
  async #declareDeadLetters(): Promise<void> {
    const { connection, topology } = this.#parts
    await undefinedIfNotFound(connection.withChannel((channel) => topology.declareDeadLetters(channel)))
  }

  async #isAbsent(lookup: Parameters<WithChannel>[0]): Promise<boolean> {
    return (await undefinedIfNotFound(this.#parts.connection.withChannel(lookup))) === undefined
  }

  /** Consuming does not depend on the records, so a broker that is slow to confirm them does not delay it for long. */
  async #writeRecords(isOnlyConsumer: boolean): Promise<void> {
    const { bindings, options, withPublisherChannel } = this.#parts
    const written = withPublisherChannel(async (channel) => {
      await bindings.record(channel, isOnlyConsumer)
      // The group of an instance that broadcasts ends with it.
      if (!options.broadcast) await registerGroup(channel, options)
    })
    await settledWithin(
      written.catch(() => undefined),
      RECORD_TIMEOUT_MS,
    )
  }
}
