import { BrokerEventBus } from '../bus/broker-event-bus.ts'
import { nonNegativeInteger, positiveInteger, resolveOptions } from '../kit/options.ts'
import type { StoredDeadLetter } from '../transport/transport.ts'
import { REDIS_AVAILABLE, RedisNotAvailableError } from './client/client.ts'
import type { RecoveryResult } from './consuming/recovery.ts'
import { type RedisEventBusOptions, type ResolvedRedisOptions, resolveRedisOptions } from './options.ts'
import { type RedisStreamInfo, readStreamInfo } from './stream-info.ts'
import { RedisTransport } from './transport.ts'

/** A dead letter with the fields of its entry, as eventsource-py's `get_dlq_messages` returns it. */
export interface RedisDlqMessage {
  /** Id of the entry in the dead letter stream. */
  readonly messageId: string
  /** The fields of the original entry, and those about its failure. */
  readonly data: Readonly<Record<string, string>>
}

export interface RedisDlqQuery {
  /** How many at most. Default 100. */
  readonly limit?: number
  /** First id. Default `-`, the oldest. */
  readonly start?: string
  /** Last id. Default `+`, the newest. */
  readonly end?: string
}

export interface RecoverPendingOptions {
  /** Only entries that nobody has renewed for so long, in milliseconds; 0 is all of them. Default: `pendingIdleMs`. */
  readonly minIdleTimeMs?: number
  /** Entries begun more often than one and so many retries go to the dead letter queue. Default: the bus's. */
  readonly maxRetries?: number
  /** Entries per page. Default: the bus's `batchSize`. */
  readonly batchSize?: number
}

/**
 * The bus over Redis Streams. At least once: an event is acknowledged when every handler of the group has handled it
 * or it lies in the dead letter stream. Order holds per aggregate within one consumer; consumers of a group compete.
 * Redis 6.2 or newer, or Valkey.
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
   * @throws ConfigError when an option is unknown or out of range.
   * @throws RedisNotAvailableError when the npm package `redis` is not installed.
   */
  constructor(options: RedisEventBusOptions = {}) {
    if (!REDIS_AVAILABLE) throw new RedisNotAvailableError()
    const resolved = resolveRedisOptions(options)
    super(resolved, (host) => new RedisTransport(resolved, host))
    this.#options = resolved
  }

  /** Name of this consumer in its group. */
  get consumerName(): string {
    return this.#options.consumerName
  }

  /**
   * Looks for pending entries now, handles them, and resolves when each is settled. It happens by itself as well, for
   * entries of consumers that are gone; this forces it. Takes entries from living consumers when `minIdleTimeMs` is
   * shorter than they hold them.
   *
   * @throws ConfigError when an option is out of range.
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
    const running = this.isConsuming ? this.transport.consumption : undefined
    if (running !== undefined) return running.recover(request)
    return this.withIntake(async (intake) => {
      const consumption = this.transport.createConsumption(intake, false)
      await consumption.start()
      try {
        return await consumption.recover(request)
      } finally {
        await consumption.stopFetching()
        await consumption.release(AbortSignal.timeout(this.#options.socketTimeoutMs))
      }
    })
  }

  /** Length, groups, pending entries and dead letters, as Redis tells them. */
  async getStreamInfo(): Promise<RedisStreamInfo> {
    await this.connect()
    return readStreamInfo(this.transport.client(), this.#options, this.getStats())
  }

  /** The dead letters with their raw fields, oldest first; see `deadLetters` for more. */
  async getDlqMessages({
    limit = 100,
    start = '-',
    end = '+',
  }: RedisDlqQuery = {}): Promise<readonly RedisDlqMessage[]> {
    await this.connect()
    const letters = await this.transport.deadLetters.range(start, end, limit)
    return letters.map(describeLetter)
  }

  /** How many dead letters there are. */
  async getDlqMessageCount(): Promise<number> {
    return this.deadLetters.count()
  }

  /** As `deadLetters.replay`. @returns false when there is none of that id. */
  async replayDlqMessage(messageId: string): Promise<boolean> {
    return this.deadLetters.replay(messageId)
  }
}

function describeLetter({ id, message }: StoredDeadLetter): RedisDlqMessage {
  const payload = typeof message.body === 'string' ? message.body : Buffer.from(message.body).toString('utf8')
  return { messageId: id, data: { ...message.headers, payload } }
}
