import type { PresenceRecord, PresenceReport, PresenceStore } from '../../transport/presence.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { takeRecords } from '../client/records.ts'
import { ReaderLock } from '../dead-letters/reader-lock.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'

/** Reports that the queue holds. Beyond it, the broker drops the oldest. */
const MAX_REPORTS = 10_000
/** A message of the queue. */
interface Report {
  readonly id: string
  /** Ascending for each id, because messages that were read return to the queue in any place. */
  readonly sequence: number
  readonly at: number
  /** Undefined if the process has ended. */
  readonly text: string | undefined
}

/**
 * The reports of the processes, in a queue whose messages expire. The broker removes them from the head of the queue only, so
 * the end of a process, which expires after its reports, must not expire later than those of others. Publishers declare only its exchange. Reading takes the
 * messages and returns them, one reader at a time.
 */
export class RabbitMQPresence implements PresenceStore {
  readonly #name: string
  readonly #withChannel: WithChannel
  readonly #lock: ReaderLock
  #sequence = 0
  /** Of the last report. */
  #ttlMs = 1

  constructor({ names }: ResolvedRabbitMQOptions, withChannel: WithChannel) {
    this.#name = names.presence
    this.#withChannel = withChannel
    this.#lock = new ReaderLock(names.presence, withChannel)
  }

  async write({ id, text, ttlMs, isConsumer }: PresenceReport): Promise<void> {
    this.#ttlMs = ttlMs
    await this.#withChannel(async (channel) => {
      await channel.assertExchange(this.#name, 'fanout', { durable: true, autoDelete: false })
      if (isConsumer) await this.#declareQueue(channel)
      await this.#send(channel, { id, text })
    })
  }

  async remove(id: string): Promise<void> {
    await this.#withChannel((channel) => this.#send(channel, { id, text: undefined }))
  }

  async list(): Promise<readonly PresenceRecord[]> {
    // A reader declares its lock, so it first looks whether there is a queue.
    const state = await undefinedIfNotFound(this.#withChannel((channel) => channel.checkQueue(this.#name)))
    if (state === undefined) return []
    const messages = await this.#lock.run((channel) => takeRecords(channel, this.#name))
    const latest = new Map<string, Report>()
    for (const report of messages.flatMap(reportOf)) {
      const known = latest.get(report.id)
      if (known === undefined || known.sequence < report.sequence) latest.set(report.id, report)
    }
    return [...latest.values()].flatMap(({ text, at }) =>
      text === undefined ? [] : [{ text, seenAt: new Date(at) }],
    )
  }

  async #declareQueue(channel: AmqpChannel): Promise<void> {
    await channel.assertQueue(this.#name, {
      durable: true,
      autoDelete: false,
      arguments: { 'x-queue-type': 'classic', 'x-max-length': MAX_REPORTS },
    })
    await channel.bindQueue(this.#name, this.#name, '')
  }

  #send(channel: AmqpChannel, report: Pick<Report, 'id' | 'text'>): Promise<void> {
    this.#sequence += 1
    const content = JSON.stringify({ ...report, sequence: this.#sequence, at: Date.now() })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const options = { deliveryMode: 1, expiration: String(this.#ttlMs), mandatory: false }
    channel.publish(this.#name, '', Buffer.from(content), options, (error) =>
      error === null ? resolve() : reject(error),
    )
    return promise
  }
}

/** Any client can write to the queue. */
function reportOf({ content }: AmqpMessage): readonly Report[] {
  try {
    const report: Partial<Record<keyof Report, unknown>> = JSON.parse(content.toString()) ?? {}
    const { id, sequence, at, text } = report
    if (typeof id !== 'string' || typeof sequence !== 'number' || typeof at !== 'number') return []
    return [{ id, sequence, at, text: typeof text === 'string' ? text : undefined }]
  } catch {
    return []
  }
}
