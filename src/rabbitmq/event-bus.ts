import { BrokerEventBus } from '../bus/broker-event-bus.ts'
import type { BrokerEventBusStats } from '../bus/telemetry/bus-counters.ts'
import { toError } from '../errors.ts'
import type { EventClass } from '../events/index.ts'
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
import { routingKeyOf } from './wire/message.ts'

export interface RabbitMQEventBusStats extends BrokerEventBusStats {
  /** Messages that the broker confirmed: events, dead letters, replays, notes of attempts. */
  readonly publishConfirms: number
  /** Events that no queue was bound for. */
  readonly publishReturns: number
}

/**
 * The bus over RabbitMQ. At least once: publishes are confirmed, and an event is acknowledged when every handler of
 * the group has handled it or it lies in the group's dead letter queue. Order holds per aggregate within one
 * consumer; consumers of a group compete. RabbitMQ 3.10 or newer.
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
   * @throws ConfigError when an option is unknown, out of range or contradicts another.
   * @throws RabbitMQNotAvailableError when the npm package `amqplib` is not installed.
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
    subscribedKeys = () => this.handlers.subscribedClasses().map(routingKeyOf)
    this.handlers.onChange(() => {
      if (!this.#followsSubscriptions) return
      this.transport.updateBindings().catch((thrown: unknown) => {
        logger.warn('could not bind what is subscribed to yet', { error: toError(thrown) })
      })
    })
  }

  /** Name of this consumer, as its connections show it. */
  get consumerName(): string {
    return this.#options.consumerName
  }

  /** Lets the group's queue get the events of a class; at once while consuming, else when consuming begins. */
  async bindEventType(eventClass: Pick<EventClass, 'aggregateType' | 'eventType'>): Promise<void> {
    await this.bindRoutingKey(routingKeyOf(eventClass))
  }

  /** Undoes {@link bindEventType}, or the binding that the subscription made. */
  async unbindEventType(eventClass: Pick<EventClass, 'aggregateType' | 'eventType'>): Promise<void> {
    await this.unbindRoutingKey(routingKeyOf(eventClass))
  }

  /** Binds the group's queue with a key, on a topic exchange a pattern (`Order.*`). See {@link bindEventType}. */
  async bindRoutingKey(routingKey: string): Promise<void> {
    await this.transport.bind({ routingKey })
  }

  /** Undoes {@link bindRoutingKey}, for the whole group; takes off the default binding (`#`) too. */
  async unbindRoutingKey(routingKey: string): Promise<void> {
    await this.transport.unbind({ routingKey })
  }

  /** Binds the group's queue on a headers exchange. See {@link bindEventType}. */
  async bindHeaders(match: HeadersMatch): Promise<void> {
    await this.transport.bind({ routingKey: '', match })
  }

  /** Undoes {@link bindHeaders}, for the whole group; `{}` takes off the default binding. */
  async unbindHeaders(match: HeadersMatch): Promise<void> {
    await this.transport.unbind({ routingKey: '', match })
  }

  /** The group's queue and the exchange, as the broker tells of them now. @throws ConnectionError */
  async getQueueInfo(): Promise<RabbitMQQueueInfo> {
    await this.connect()
    return this.transport.queueInfo()
  }

  /** The dead letters of the group with their raw headers, oldest first; see `deadLetters` for more. */
  async getDlqMessages(options: { readonly limit?: number } = {}): Promise<readonly RabbitMQDlqMessage[]> {
    const { limit } = resolveOptions('getDlqMessages', options, { limit: 100 }, { limit: positiveInteger })
    await this.connect()
    return (await this.transport.deadLetters.own.raw(limit)).map(describeDlqMessage)
  }

  /** How many dead letters the group has. */
  async getDlqMessageCount(): Promise<number> {
    await this.connect()
    return this.transport.deadLetters.own.count()
  }

  /** As `deadLetters.replay`. @returns false when there is none of that id. */
  async replayDlqMessage(messageId: string): Promise<boolean> {
    return this.deadLetters.replay(messageId)
  }

  /** Removes all dead letters of the group, for good. @returns how many there were. */
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
