import { BrokerEventBus } from '../bus/broker-event-bus.ts'
import type { BrokerEventBusStats } from '../bus/telemetry/bus-counters.ts'
import { toError } from '../errors.ts'
import type { EventNames } from '../events/index.ts'
import { positiveInteger, resolveOptions } from '../kit/options.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { RABBITMQ_AVAILABLE, RabbitMQNotAvailableError } from './client/client.ts'
import { describeDlqMessage, type RabbitMQDlqMessage } from './dead-letters/dlq-message.ts'
import {
  type HeadersMatch,
  type RabbitMQEventBusOptions,
  type ResolvedRabbitMQOptions,
  resolveRabbitMQOptions,
} from './options.ts'
import { type RabbitMQQueueInfo, RabbitMQTransport } from './transport.ts'
import { routingKeysOf } from './wire/message.ts'

/** Counters of a {@link RabbitMQEventBus}. */
export interface RabbitMQEventBusStats extends BrokerEventBusStats {
  /** Messages that the broker confirmed: events, dead letters, replays and attempt marks. */
  readonly publishConfirms: number
  /** Published events for which no queue was bound. */
  readonly publishReturns: number
}

/**
 * An event bus over RabbitMQ 3.10 or newer. Delivery is at least once: publishes are confirmed, and an event is
 * acknowledged when every handler of the group has succeeded, or the event is in the group's dead letter queue. Order holds
 * per aggregate within one consumer, and with `partitions` across the consumers of a group.
 *
 * @example
 * await using bus = new RabbitMQEventBus({ exchangeName: 'orders', consumerGroup: 'billing' })
 * bus.subscribe(OrderCreated, async (event) => invoice(event.customerId))
 * bus.startConsumingInBackground()
 * await bus.publish([new OrderCreated({ aggregateId, customerId })])
 */
export class RabbitMQEventBus extends BrokerEventBus<RabbitMQTransport> {
  readonly #options: ResolvedRabbitMQOptions

  /**
   * @throws ConfigError if an option is unknown, out of range, or contradicts another.
   * @throws RabbitMQNotAvailableError if the npm package `amqplib` is not installed; in a bundle, `connect` throws it.
   */
  constructor(options: RabbitMQEventBusOptions = {}) {
    if (!RABBITMQ_AVAILABLE) throw new RabbitMQNotAvailableError()
    const resolved = resolveRabbitMQOptions(options)
    const logger = resolveLogger(resolved.logger)
    let subscribedKeys: () => readonly string[] = () => []
    super(
      { ...resolved, logger },
      (host) => new RabbitMQTransport(resolved, host, logger, () => subscribedKeys()),
    )
    this.#options = resolved
    subscribedKeys = () => this.handlers.subscribedClasses().flatMap(routingKeysOf)
    this.handlers.onChange(() => {
      if (!this.#followsSubscriptions) return
      this.transport.updateBindings().catch((thrown: unknown) => {
        logger.warn('binding update failed, trying again at the next check', { error: toError(thrown) })
      })
    })
  }

  /** Name of this consumer in the broker's list of connections. */
  get consumerName(): string {
    return this.#options.consumerName
  }

  /**
   * Binds the group's queue to the events of a class: at once if the bus is consuming, otherwise when consuming starts.
   */
  async bindEventType(eventClass: EventNames): Promise<void> {
    for (const routingKey of routingKeysOf(eventClass)) await this.bindRoutingKey(routingKey)
  }

  /** Removes the binding to the events of a class for the whole group, even if a subscription has created it. */
  async unbindEventType(eventClass: EventNames): Promise<void> {
    for (const routingKey of routingKeysOf(eventClass)) await this.unbindRoutingKey(routingKey)
  }

  /** Binds the group's queue with a routing key; on a topic exchange, a pattern (`Order.*`). See {@link bindEventType}. */
  async bindRoutingKey(routingKey: string): Promise<void> {
    await this.transport.bind({ routingKey })
  }

  /** Removes the binding with a routing key for the whole group, even a default one (`#`). */
  async unbindRoutingKey(routingKey: string): Promise<void> {
    await this.transport.unbind({ routingKey })
  }

  /** Binds the group's queue by headers, on a headers exchange. See {@link bindEventType}. */
  async bindHeaders(match: HeadersMatch): Promise<void> {
    await this.transport.bind({ routingKey: '', match })
  }

  /** Removes a binding by headers for the whole group; `{}` removes the default one. */
  async unbindHeaders(match: HeadersMatch): Promise<void> {
    await this.transport.unbind({ routingKey: '', match })
  }

  /** The current state of the group's queue and of the exchange. @throws ConnectionError */
  async getQueueInfo(): Promise<RabbitMQQueueInfo> {
    await this.connect()
    return this.transport.queueInfo()
  }

  /** The group's dead letters with their raw headers, oldest first. `deadLetters` has pages and decoded events. */
  async getDlqMessages(options: { readonly limit?: number } = {}): Promise<readonly RabbitMQDlqMessage[]> {
    const { limit } = resolveOptions('getDlqMessages', options, { limit: 100 }, { limit: positiveInteger })
    await this.connect()
    return (await this.transport.deadLetters.own.raw(limit)).map(describeDlqMessage)
  }

  /** The number of the group's dead letters. */
  async getDlqMessageCount(): Promise<number> {
    await this.connect()
    return this.transport.deadLetters.own.count()
  }

  /** Same as `deadLetters.replay`. @returns false if there is no dead letter with that id. */
  async replayDlqMessage(messageId: string): Promise<boolean> {
    return this.deadLetters.replay(messageId)
  }

  /** Removes all dead letters of the group permanently. @returns their number. */
  async purgeDlq(): Promise<number> {
    await this.connect()
    return this.transport.deadLetters.own.purge()
  }

  override getStats(): RabbitMQEventBusStats {
    return { ...super.getStats(), ...this.transport.counts }
  }

  get #followsSubscriptions(): boolean {
    const { exchangeType, routingKeyPattern } = this.#options
    return exchangeType === 'direct' && routingKeyPattern === undefined
  }
}
