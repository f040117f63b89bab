import { createHash } from 'node:crypto'
import type { GroupTypeStore } from '../../transport/transport.ts'
import type { AmqpChannel } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { createdQueues } from '../client/created-queues.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'

/** How long an announcement is valid, in milliseconds. */
const ANNOUNCED_MS = 600_000
const EMPTY = Buffer.alloc(0)

/**
 * The event types of a group, as bindings. A queue for each set of types expires if no member declares it again, and its
 * bindings with it. A message with the routing key of a type is unroutable if no member handles the type. No message
 * stays in these queues.
 */
export class RabbitMQGroupTypes implements GroupTypeStore {
  readonly freshMs = 100
  readonly #options: ResolvedRabbitMQOptions
  readonly #withChannel: WithChannel

  constructor(options: ResolvedRabbitMQOptions, withChannel: WithChannel) {
    this.#options = options
    this.#withChannel = withChannel
  }

  async announce(names: readonly string[]): Promise<boolean> {
    const { typesExchange } = this.#options.names
    const exists = await undefinedIfNotFound(
      this.#withChannel((channel) => channel.checkExchange(typesExchange)),
    )
    return this.#withChannel(async (channel) => {
      await channel.assertExchange(typesExchange, 'direct', { durable: true, autoDelete: true })
      const known = exists === undefined ? new Set(names) : await this.#routable(channel, names)
      const queue = this.#queueOf(names)
      createdQueues.publish(queue)
      await channel.assertQueue(queue, {
        durable: true,
        autoDelete: false,
        arguments: { 'x-queue-type': 'classic', 'x-expires': ANNOUNCED_MS, 'x-message-ttl': 0 },
      })
      for (const name of names) await channel.bindQueue(queue, typesExchange, keyOf(name))
      return known.size < names.length
    })
  }

  handled(names: readonly string[]): Promise<ReadonlySet<string>> {
    return this.#withChannel((channel) => this.#routable(channel, names))
  }

  /** Those of the names for which the exchange has a binding. The broker returns a message before it confirms it. */
  async #routable(channel: AmqpChannel, names: readonly string[]): Promise<ReadonlySet<string>> {
    const returned = new Set<string>()
    channel.on('return', ({ fields }) => returned.add(fields.routingKey))
    await Promise.all(names.map((name) => this.#probe(channel, keyOf(name))))
    return new Set(names.filter((name) => !returned.has(keyOf(name))))
  }

  #probe(channel: AmqpChannel, routingKey: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const { typesExchange } = this.#options.names
    channel.publish(typesExchange, routingKey, EMPTY, { mandatory: true }, (error) =>
      error === null ? resolve() : reject(error),
    )
    return promise
  }

  #queueOf(names: readonly string[]): string {
    return `${this.#options.names.typesExchange}.${digest(JSON.stringify(names))}`
  }
}

/** A routing key has at most 255 bytes. */
function keyOf(name: string): string {
  return Buffer.byteLength(name) <= 255 ? name : digest(name)
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}
