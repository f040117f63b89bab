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
  /** The consumer's. */
  readonly connection: RabbitMQConnection
  readonly notify: (notice: BusNotice) => void
  /** For what has to publish: on the consumer's connection it would block the acknowledgments too. */
  readonly withPublisherChannel: WithChannel
}

/** How long a consumer waits for its notes to be written before it starts, in milliseconds. */
const WRITE_DOWN_MS = 1000

/**
 * The group's queue on the broker, with what it hangs on: exchange, bindings, dead letter queue. What is done to it is
 * done one after the other, as a bind could overtake an unbind on another channel.
 */
export class RabbitMQGroupQueue {
  readonly #parts: GroupQueueParts
  readonly #mutex = new Mutex()
  #nextUpdate: Promise<void> | undefined

  constructor(parts: GroupQueueParts) {
    this.#parts = parts
  }

  /** Declares all that consuming needs. @param wasThere - that this consumer had it: then its loss is told. */
  declare(wasThere: boolean): Promise<void> {
    const { connection, topology, bindings, options } = this.#parts
    return this.#mutex.runExclusive(async () => {
      const isLost = wasThere && (await this.#isAbsent((channel) => channel.checkQueue(options.names.queue)))
      if (options.enableDlq) await this.#declareDeadLetters()
      const others = await connection.withChannel(async (channel) => {
        const consumers = await topology.declareForConsuming(channel)
        await bindings.start(channel)
        return consumers
      })
      await this.#writeDown(others === 0)
      if (isLost) this.#reportLoss()
    })
  }

  /** Follows a change of the bindings. While there is no connection the next {@link declare} will do it. */
  updateBindings(): Promise<void> {
    // One that has not begun will do for all who ask meanwhile.
    this.#nextUpdate ??= this.#mutex.runExclusive(() => {
      this.#nextUpdate = undefined
      return this.#update()
    })
    return this.#nextUpdate
  }

  /** Makes sure that the exchange is there and the queue bound to it: nobody tells when they go. */
  check(): Promise<void> {
    const { connection, topology, bindings, options, notify } = this.#parts
    const { exchange } = options.names
    return this.#mutex.runExclusive(async () => {
      if (!connection.isOpen) return
      const isGone = await this.#isAbsent((channel) => channel.checkExchange(exchange))
      await connection.withChannel(async (channel) => {
        if (isGone) await topology.declareForPublishing(channel)
        await bindings.repair(channel)
      })
      await this.#update()
      if (isGone) notify({ type: 'topologyRestored', what: `exchange ${exchange}` })
    })
  }

  async #update(): Promise<void> {
    const { connection, bindings, options } = this.#parts
    if (!connection.isOpen || bindings.isCurrent) return
    const isAlone = await connection.withChannel(async (channel) => {
      const { consumerCount } = await channel.checkQueue(options.names.queue)
      await bindings.update(channel, consumerCount <= 1)
      return consumerCount <= 1
    })
    await this.#writeDown(isAlone)
  }

  #reportLoss(): void {
    const { options, notify } = this.#parts
    const { queue } = options.names
    const detail = `the queue ${queue} was deleted, with the messages in it`
    notify({ type: 'eventsLost', detail, count: undefined })
    notify({ type: 'topologyRestored', what: `queue ${queue}` })
  }

  /**
   * In a cluster it may lie on a node that is down, which the broker calls not found. Dead-lettering waits for that
   * node then; consuming need not.
   */
  async #declareDeadLetters(): Promise<void> {
    const { connection, topology } = this.#parts
    await undefinedIfNotFound(connection.withChannel((channel) => topology.declareDeadLetters(channel)))
  }

  async #isAbsent(lookup: Parameters<WithChannel>[0]): Promise<boolean> {
    return (await undefinedIfNotFound(this.#parts.connection.withChannel(lookup))) === undefined
  }

  /** Notes for others and for later, which consuming does not depend on, and waits for in fair weather only. */
  async #writeDown(isAlone: boolean): Promise<void> {
    const { bindings, options, withPublisherChannel } = this.#parts
    const written = withPublisherChannel(async (channel) => {
      await bindings.record(channel, isAlone)
      if (options.enableDlq) await registerGroup(channel, options)
    })
    await settledWithin(
      written.catch(() => undefined),
      WRITE_DOWN_MS,
    )
  }
}
