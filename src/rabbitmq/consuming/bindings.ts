import type { AmqpChannel } from '../client/client.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import {
  BindingRecord,
  type Bindings,
  bindingId,
  bindingsById,
  haveSameIds,
  type RabbitMQBinding,
} from './binding-record.ts'

const NO_BINDINGS: Bindings = new Map()

/**
 * Applies the bindings that this consumer wants to the broker. A recorded binding that it does not want is removed only if
 * it is the only consumer, because others may want it. A superfluous binding costs skipped messages, a missing one loses
 * events.
 */
export class RabbitMQBindings {
  readonly #options: ResolvedRabbitMQOptions
  readonly #subscribedKeys: () => readonly string[]
  readonly #record: BindingRecord
  readonly #added = new Map<string, RabbitMQBinding>()
  readonly #removed = new Set<string>()
  readonly #toUnbind = new Map<string, RabbitMQBinding>()
  #applied: Bindings = NO_BINDINGS

  /** @param subscribedKeys - the routing keys of the event classes that have handlers. */
  constructor(options: ResolvedRabbitMQOptions, subscribedKeys: () => readonly string[]) {
    this.#options = options
    this.#subscribedKeys = subscribedKeys
    this.#record = new BindingRecord(options)
  }

  add(binding: RabbitMQBinding): void {
    const id = bindingId(binding)
    this.#removed.delete(id)
    this.#toUnbind.delete(id)
    this.#added.set(id, binding)
  }

  remove(binding: RabbitMQBinding): void {
    const id = bindingId(binding)
    this.#added.delete(id)
    this.#removed.add(id)
    this.#toUnbind.set(id, binding)
  }

  /** False while a binding that was added or removed is not yet applied to the broker. */
  get isCurrent(): boolean {
    return this.#toUnbind.size === 0 && haveSameIds(this.#applied, this.#wanted())
  }

  /** Makes all wanted bindings. */
  async start(channel: AmqpChannel): Promise<void> {
    await this.#apply(channel, this.#wanted(), NO_BINDINGS)
  }

  /**
   * Records the applied bindings. The only consumer also removes recorded bindings that it does not want. The channel's
   * connection may be blocked for publishing, so consuming must not depend on this.
   */
  async record(channel: AmqpChannel, isOnlyConsumer: boolean): Promise<void> {
    const recorded = await this.#record.exchange(channel, this.#applied, isOnlyConsumer)
    if (isOnlyConsumer) await this.#unbindUnwanted(channel, recorded)
  }

  /** Applies changes since the last call to the broker. */
  async update(channel: AmqpChannel, isOnlyConsumer: boolean): Promise<void> {
    const before = this.#applied
    await this.#apply(channel, this.#wanted(), before)
    if (isOnlyConsumer) await this.#unbindUnwanted(channel, before)
  }

  /** Makes the applied bindings again, in case another client removed them or the exchange was deleted. */
  async repair(channel: AmqpChannel): Promise<void> {
    for (const binding of this.#applied.values()) await this.#bind(channel, binding)
  }

  /** Changes during this call are applied by the next update. */
  async #apply(channel: AmqpChannel, wanted: Bindings, present: Bindings): Promise<void> {
    for (const [id, binding] of wanted) if (!present.has(id)) await this.#bind(channel, binding)
    // A binding that the user removed is removed for the whole group.
    for (const [id, binding] of [...this.#toUnbind]) {
      await this.#unbind(channel, binding)
      if (this.#toUnbind.get(id) === binding) this.#toUnbind.delete(id)
    }
    this.#applied = wanted
  }

  #wanted(): Bindings {
    const wanted = bindingsById([...this.#defaults(), ...this.#added.values()])
    return new Map([...wanted].filter(([id]) => !this.#removed.has(id)))
  }

  #defaults(): readonly RabbitMQBinding[] {
    const { exchangeType, routingKeyPattern, headersMatch, names } = this.#options
    if (routingKeyPattern !== undefined && routingKeyPattern !== '') {
      return [{ routingKey: routingKeyPattern, match: headersMatch }]
    }
    if (routingKeyPattern === '' && headersMatch === undefined) return []
    switch (exchangeType) {
      case 'topic':
        return [{ routingKey: '#' }]
      case 'direct':
        // eventsource-py binds the queue's own name, which matches no event of its publishers.
        return [names.queue, ...this.#subscribedKeys()].map((routingKey) => ({ routingKey }))
      case 'fanout':
        return [{ routingKey: '' }]
      case 'headers':
        return [{ routingKey: '', match: headersMatch }]
    }
  }

  /** Checks each binding right before it is removed, as the wanted ones may change meanwhile. */
  async #unbindUnwanted(channel: AmqpChannel, bindings: Bindings): Promise<void> {
    for (const [id, binding] of bindings) if (!this.#wanted().has(id)) await this.#unbind(channel, binding)
  }

  async #bind(channel: AmqpChannel, { routingKey, match = {} }: RabbitMQBinding): Promise<void> {
    const { names, isPartitioned } = this.#options
    if (isPartitioned) await channel.bindExchange(names.partitionExchange, names.exchange, routingKey, match)
    else await channel.bindQueue(names.queue, names.exchange, routingKey, match)
  }

  async #unbind(channel: AmqpChannel, { routingKey, match = {} }: RabbitMQBinding): Promise<void> {
    const { names, isPartitioned } = this.#options
    if (isPartitioned)
      await channel.unbindExchange(names.partitionExchange, names.exchange, routingKey, match)
    else await channel.unbindQueue(names.queue, names.exchange, routingKey, match)
  }
}
