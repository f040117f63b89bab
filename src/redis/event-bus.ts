import { BrokerEventBus } from '../bus/broker-event-bus.ts'
import { nonEmptyText, nonNegativeInteger, positiveInteger, resolveOptions } from '../kit/options.ts'
import type { StoredDeadLetter } from '../transport/transport.ts'
import { REDIS_AVAILABLE, RedisNotAvailableError } from './client/client.ts'
import type { RecoveryResult } from './consuming/recovery.ts'
import { type RedisEventBusOptions, type ResolvedRedisOptions, resolveRedisOptions } from './options.ts'
import { type RedisStreamInfo, readStreamInfo } from './stream-info.ts'
import { RedisTransport } from './transport.ts'

/** A dead letter with the raw fields of its entry, as eventsource-py's `get_dlq_messages` returns it. */
export interface RedisDlqMessage {
  /** Id of the entry in the dead letter stream. */
  readonly messageId: string
  /** The fields of the original entry, and the fields about its failure. */
  readonly data: Readonly<Record<string, string>>
}

/** Which entries of the dead letter stream to read. */
export interface RedisDlqQuery {
  /** Maximum number of dead letters to return. Default 100. */
  readonly limit?: number
  /** First id, inclusive. Default `-`, the oldest. */
  readonly start?: string
  /** Last id, inclusive. Default `+`, the newest. */
  readonly end?: string
}

/** Options of `recoverPendingMessages`. */
export interface RecoverPendingOptions {
  /**
   * Only entries whose lease was not renewed for this many milliseconds; 0 for all. Default: the bus's `pendingIdleMs`.
   */
  readonly minIdleTimeMs?: number
  /**
   * Entries are dead-lettered if they have had more than this many retries after the first attempt. Default: the bus's
   * `maxRetries`.
   */
  readonly maxRetries?: number
  /** Entries per page. Default: the bus's `batchSize`. */
  readonly batchSize?: number
}

/**
 * An event bus over Redis Streams. Delivery is at least once: an event is acknowledged after every handler of the group
 * has succeeded, or after it is stored in the dead letter stream. The consumers of a group share its events; each
 * consumer handles the events of one aggregate in order. It needs Redis 6.2 or newer, or Valkey.
 *
 * @example
 * await using bus = new RedisEventBus({ redisUrl: 'redis://localhost:6379', consumerGroup: 'billing' })
 * bus.subscribe(OrderCreated, async (event) => invoice(event.customerId))
 * bus.startConsumingInBackground()
 * await bus.publish([new OrderCreated({ aggregateId, customerId })])
 */
export class RedisEventBus extends BrokerEventBus<RedisTransport> {
  readonly #options: ResolvedRedisOptions

  /**
   * @throws ConfigError if an option is unknown or out of range.
   * @throws RedisNotAvailableError if the npm package `redis` is not installed; in a bundle, `connect` throws it.
   */
  constructor(options: RedisEventBusOptions = {}) {
    if (!REDIS_AVAILABLE && options.client === undefined) throw new RedisNotAvailableError()
    const resolved = resolveRedisOptions(options)
    super(resolved, (host) => new RedisTransport(resolved, host))
    this.#options = resolved
  }

  /** The name of this consumer in its group. */
  get consumerName(): string {
    return this.#options.consumerName
  }

  /**
   * Takes over pending entries: delivered to a consumer of the group and not acknowledged. Resolves when each of them
   * is settled or given up. A running bus does this on its own for dead consumers at regular intervals; this call does
   * it at once. With a `minIdleTimeMs` shorter than `pendingIdleMs` it also takes entries from consumers that are
   * alive. In a group with order it takes over only entries of partitions that this consumer owns: other owners have theirs.
   * While the group is paused it takes over nothing. A pause, `stopConsuming` and `shutdown` end it early.
   * @throws ConfigError if an option is out of range.
   * @throws ConnectionError while Redis cannot be reached.
   */
  async recoverPendingMessages(options: RecoverPendingOptions = {}): Promise<RecoveryResult> {
    const { pendingIdleMs, maxRetries, batchSize } = this.#options
    const request = resolveOptions(
      'recoverPendingMessages',
      options,
      { minIdleTimeMs: pendingIdleMs, maxRetries, batchSize },
      { minIdleTimeMs: nonNegativeInteger, maxRetries: nonNegativeInteger, batchSize: positiveInteger },
    )
    await this.connect()
    const running = this.isConsuming ? this.transport.consumption?.recover(request) : undefined
    if (running !== undefined) return running
    const recovered = await this.withConsumption(
      async (intake) => {
        const consumption = await this.transport.createConsumption(intake, false)
        await consumption.start()
        return consumption
      },
      async (consumption) => consumption.recover(request),
    )
    return recovered ?? { checked: 0, claimed: 0, reprocessed: 0, dlq: 0, failed: 0 }
  }

  /** Reads the length, groups, pending entries and dead letters of the stream from Redis. @throws ConnectionError */
  async getStreamInfo(): Promise<RedisStreamInfo> {
    await this.connect()
    return readStreamInfo(this.transport.client(), this.#options, this.getStats())
  }

  /** Returns dead letters with their raw fields, oldest first. `deadLetters` returns them decoded. @throws ConfigError */
  async getDlqMessages(query: RedisDlqQuery = {}): Promise<readonly RedisDlqMessage[]> {
    const { limit, start, end } = resolveOptions(
      'getDlqMessages',
      query,
      { limit: 100, start: '-', end: '+' },
      { limit: positiveInteger, start: nonEmptyText, end: nonEmptyText },
    )
    await this.connect()
    const letters = await this.transport.deadLetters.range(start, end, limit)
    return letters.map(describeLetter)
  }

  /** Returns the number of dead letters. */
  async getDlqMessageCount(): Promise<number> {
    return this.deadLetters.count()
  }

  /** Replays a dead letter, as `deadLetters.replay` does. @returns false if there is no dead letter with this id. */
  async replayDlqMessage(messageId: string): Promise<boolean> {
    return this.deadLetters.replay(messageId)
  }
}

function describeLetter({ id, message }: StoredDeadLetter): RedisDlqMessage {
  const payload = typeof message.body === 'string' ? message.body : Buffer.from(message.body).toString('utf8')
  return { messageId: id, data: { ...message.headers, payload } }
}
