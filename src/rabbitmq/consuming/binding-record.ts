import type { AmqpChannel } from '../client/client.ts'
import { publishRecord, takeRecords } from '../client/records.ts'
import type { HeadersMatch, ResolvedRabbitMQOptions } from '../options.ts'

/** A binding of the group's queue to the exchange. */
export interface RabbitMQBinding {
  readonly routingKey: string
  /** Set on a headers exchange only. */
  readonly match?: HeadersMatch | undefined
}

/** Bindings by their {@link bindingId}. */
export type Bindings = ReadonlyMap<string, RabbitMQBinding>

/**
 * The list of the group's bindings, as one message in a small queue: AMQP cannot list bindings. It lets a consumer remove
 * bindings that an earlier version of the program made.
 */
export class BindingRecord {
  readonly #options: ResolvedRabbitMQOptions

  constructor(options: ResolvedRabbitMQOptions) {
    this.#options = options
  }

  /**
   * Records the bindings of this consumer. The recorded ones are kept too, unless it is the only consumer.
   * @returns the bindings that were recorded before.
   */
  async exchange(channel: AmqpChannel, bindings: Bindings, isOnlyConsumer: boolean): Promise<Bindings> {
    const { names, durable, autoDelete, broadcast } = this.#options
    // An auto-delete queue is deleted with its bindings, and the queue of an instance is used by no other process.
    if (autoDelete || broadcast) return new Map()
    await channel.assertQueue(names.bindingsQueue, {
      durable,
      autoDelete: false,
      arguments: { 'x-queue-type': 'classic' },
    })
    const messages = await takeRecords(channel, names.bindingsQueue)
    const recorded = bindingsById(messages.flatMap(({ content }) => parseBindings(content)))
    const next = isOnlyConsumer ? bindings : new Map([...recorded, ...bindings])
    if (messages.length !== 1 || !haveSameIds(recorded, next)) {
      await publishRecord(channel, names.bindingsQueue, JSON.stringify([...next.values()]))
      for (const message of messages) channel.ack(message)
    }
    return recorded
  }
}

export function bindingId({ routingKey, match = {} }: RabbitMQBinding): string {
  return JSON.stringify([routingKey, Object.entries(match).sort(([a], [b]) => (a < b ? -1 : 1))])
}

export function bindingsById(bindings: readonly RabbitMQBinding[]): Bindings {
  return new Map(bindings.map((binding) => [bindingId(binding), binding] as const))
}

export function haveSameIds(a: Bindings, b: Bindings): boolean {
  return a.size === b.size && [...a.keys()].every((id) => b.has(id))
}

/** Any client can write to the queue: content that is not a list of bindings is ignored. */
function parseBindings(content: Buffer): readonly RabbitMQBinding[] {
  try {
    const value: unknown = JSON.parse(content.toString())
    return Array.isArray(value) ? value.filter(isBinding) : []
  } catch {
    return []
  }
}

function isBinding(value: unknown): value is RabbitMQBinding {
  if (typeof value !== 'object' || value === null) return false
  const match: unknown = 'match' in value ? value.match : undefined
  return (
    'routingKey' in value &&
    typeof value.routingKey === 'string' &&
    (match === undefined || (typeof match === 'object' && match !== null))
  )
}
