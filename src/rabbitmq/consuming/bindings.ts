import type { AmqpChannel } from '../client/client.ts'
import { publishNote, takeNotes } from '../client/notes.ts'
import type { HeadersMatch, ResolvedRabbitMQOptions } from '../options.ts'

/** What makes messages of the exchange go to the queue. */
export interface RabbitMQBinding {
  readonly routingKey: string
  /** Only on a headers exchange. */
  readonly match?: HeadersMatch | undefined
}

/** By what tells them apart. */
type Bindings = ReadonlyMap<string, RabbitMQBinding>

const NONE: Bindings = new Map()

/**
 * The bindings that the group wants, and their counterpart on the broker. AMQP cannot list bindings, so the group
 * keeps a list of its own in a small queue: a binding that an earlier version of the program made, and that nobody
 * wants any more, is taken off when a consumer starts that is alone. While others consume from the queue they may
 * want what this one does not know of; a binding too many costs a skipped message, one too few loses events.
 */
export class RabbitMQBindings {
  readonly #options: ResolvedRabbitMQOptions
  readonly #subscribedKeys: () => readonly string[]
  readonly #added = new Map<string, RabbitMQBinding>()
  readonly #removed = new Set<string>()
  readonly #toUnbind = new Map<string, RabbitMQBinding>()
  #applied: Bindings = NONE

  /** @param subscribedKeys - the routing keys of the event classes that somebody subscribed to. */
  constructor(options: ResolvedRabbitMQOptions, subscribedKeys: () => readonly string[]) {
    this.#options = options
    this.#subscribedKeys = subscribedKeys
  }

  add(binding: RabbitMQBinding): void {
    this.#removed.delete(idOf(binding))
    this.#toUnbind.delete(idOf(binding))
    this.#added.set(idOf(binding), binding)
  }

  remove(binding: RabbitMQBinding): void {
    this.#added.delete(idOf(binding))
    this.#removed.add(idOf(binding))
    this.#toUnbind.set(idOf(binding), binding)
  }

  /** False while something is wanted, or wanted no more, that the broker does not know of. */
  get isCurrent(): boolean {
    return this.#toUnbind.size === 0 && sameKeys(this.#applied, this.#wanted())
  }

  /** Makes all bindings that are wanted. */
  async start(channel: AmqpChannel): Promise<void> {
    await this.#apply(channel, this.#wanted(), NONE)
  }

  /**
   * Writes down what is bound, and takes off what was bound before and is not wanted now, if nobody else consumes.
   * On a connection that may be blocked for publishing, so nothing waits for it.
   */
  async record(channel: AmqpChannel, isAlone: boolean): Promise<void> {
    const recorded = await this.#exchangeRecord(channel, this.#applied, isAlone)
    if (isAlone) await this.#unbindOthers(channel, recorded)
  }

  /** Follows what has changed since. @param isAlone - that nobody else consumes from the queue. */
  async update(channel: AmqpChannel, isAlone: boolean): Promise<void> {
    const before = this.#applied
    await this.#apply(channel, this.#wanted(), before)
    if (isAlone) await this.#unbindOthers(channel, before)
  }

  /** Binds again what somebody may have taken off, or what went with an exchange that was deleted. */
  async repair(channel: AmqpChannel): Promise<void> {
    for (const binding of this.#applied.values()) await this.#bind(channel, binding)
  }

  /** What changes while this is under way is for the next time. */
  async #apply(channel: AmqpChannel, wanted: Bindings, present: Bindings): Promise<void> {
    for (const [id, binding] of wanted) if (!present.has(id)) await this.#bind(channel, binding)
    // What the user took off goes, whoever else may want it.
    for (const [id, binding] of [...this.#toUnbind]) {
      await this.#unbind(channel, binding)
      if (this.#toUnbind.get(id) === binding) this.#toUnbind.delete(id)
    }
    this.#applied = wanted
  }

  #wanted(): Bindings {
    const keys: readonly RabbitMQBinding[] = [...this.#defaults(), ...this.#added.values()]
    const wanted = keys.map((binding) => [idOf(binding), binding] as const)
    return new Map(wanted.filter(([id]) => !this.#removed.has(id)))
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
        // The queue's own name is eventsource-py's binding, which no event of its publishers matches.
        return [names.queue, ...this.#subscribedKeys()].map((routingKey) => ({ routingKey }))
      case 'fanout':
        return [{ routingKey: '' }]
      case 'headers':
        return [{ routingKey: '', match: headersMatch }]
    }
  }

  /** Takes off those that are not wanted at the moment when their turn comes. */
  async #unbindOthers(channel: AmqpChannel, bindings: Bindings): Promise<void> {
    for (const [id, binding] of bindings) if (!this.#wanted().has(id)) await this.#unbind(channel, binding)
  }

  async #bind(channel: AmqpChannel, { routingKey, match = {} }: RabbitMQBinding): Promise<void> {
    await channel.bindQueue(this.#options.names.queue, this.#options.names.exchange, routingKey, match)
  }

  async #unbind(channel: AmqpChannel, { routingKey, match = {} }: RabbitMQBinding): Promise<void> {
    await channel.unbindQueue(this.#options.names.queue, this.#options.names.exchange, routingKey, match)
  }

  /** Writes the list: only our own when alone, else with what others wrote. @returns the list as it was. */
  async #exchangeRecord(channel: AmqpChannel, wanted: Bindings, isAlone: boolean): Promise<Bindings> {
    const { names, durable, autoDelete } = this.#options
    // An automatically deleted queue takes its bindings with it.
    if (autoDelete) return new Map()
    const { messageCount } = await channel.assertQueue(names.bindingsQueue, {
      durable,
      autoDelete: false,
      arguments: {},
    })
    const { recorded, messages } = await readRecord(channel, names.bindingsQueue, messageCount)
    const next = isAlone ? wanted : new Map([...recorded, ...wanted])
    if (messages.length !== 1 || !sameKeys(recorded, next)) {
      await writeRecord(channel, names.bindingsQueue, next)
      for (const message of messages) channel.ack(message)
    }
    return recorded
  }
}

async function readRecord(channel: AmqpChannel, queue: string, count: number) {
  const messages = await takeNotes(channel, queue, count)
  const bindings = messages.flatMap((message) => parseRecord(message.content))
  return { recorded: new Map(bindings.map((binding) => [idOf(binding), binding] as const)), messages }
}

function writeRecord(channel: AmqpChannel, queue: string, bindings: Bindings): Promise<void> {
  return publishNote(channel, queue, JSON.stringify([...bindings.values()]))
}

/** Anybody may write to the queue; what is no list of bindings is none. */
function parseRecord(content: Buffer): readonly RabbitMQBinding[] {
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

function idOf({ routingKey, match = {} }: RabbitMQBinding): string {
  return JSON.stringify([routingKey, Object.entries(match).sort(([a], [b]) => (a < b ? -1 : 1))])
}

function sameKeys(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  return a.size === b.size && [...a.keys()].every((key) => b.has(key))
}
