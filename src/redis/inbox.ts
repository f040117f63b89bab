import { ConfigError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import type { EventHandler, HandlerContext } from '../handling/event-handler.ts'
import { idempotencyKeyOf } from '../handling/once.ts'
import { TransactionRun } from '../handling/transaction-run.ts'
import {
  durationMs,
  nonEmptyText,
  type OptionRule,
  objectWith,
  positiveIntegerOrInfinity,
  resolveOptions,
} from '../kit/options.ts'
import { sleep } from '../kit/time.ts'
import { foreignClient } from './client/given-client.ts'
import { InboxAttempt, type InboxLimits } from './inbox-attempt.ts'
import { type InboxKeys, InboxScripts, type RedisCommandClient } from './inbox-scripts.ts'
import { RedisEffects } from './redis-effects.ts'

/** Options of {@link RedisInbox}. */
export interface RedisInboxOptions {
  /**
   * A connected client of node-redis. For another client, pass an object with `sendCommand`. The inbox does not close
   * it. Required.
   */
  readonly client: RedisCommandClient
  /**
   * Prefix of the keys of the inbox. In a Redis Cluster, it must contain a hash tag, and all keys that the handlers
   * write must have the same tag. Default `'inbox'`.
   */
  readonly keyPrefix?: string
  /**
   * Time after which Redis removes a record, in milliseconds; Infinity for never. If an event is delivered again after that, it is handled
   * again. A record takes about 200 bytes of memory. Default 604,800,000 (7 days).
   */
  readonly retentionMs?: number
  /**
   * Time for which a crashed worker keeps others from an event, in milliseconds. A running worker renews its lock.
   * Default 10,000.
   */
  readonly lockMs?: number
}

/** What a handler of a {@link RedisInbox} receives in addition to the event. */
export interface RedisInboxContext extends HandlerContext {
  /** The commands that run together with the record that the handler has handled the event. */
  readonly tx: RedisEffects
  /** The same for each attempt of this handler to handle this event. */
  readonly idempotencyKey: string
}

/** A handler whose effects are Redis commands. */
export type RedisInboxHandler<E extends DomainEvent> = (event: E, context: RedisInboxContext) => unknown

export const redisInboxDefaults = {
  client: undefined as RedisCommandClient | undefined,
  keyPrefix: 'inbox',
  retentionMs: 7 * 24 * 60 * 60 * 1000,
  lockMs: 10_000,
}

const commandClient: OptionRule = {
  ...objectWith('a client of node-redis, or an object with sendCommand', 'sendCommand'),
  explain: foreignClient,
}

export const redisInboxRules: Readonly<Record<keyof typeof redisInboxDefaults, OptionRule>> = {
  client: commandClient,
  keyPrefix: nonEmptyText,
  retentionMs: positiveIntegerOrInfinity,
  lockMs: durationMs,
}

/** Waits between two looks at an event that another worker handles, in milliseconds. */
const FIRST_WAIT_MS = 5
const LONGEST_WAIT_MS = 200

/**
 * Records which handler has handled which event, for handlers whose effect is in Redis. One script runs the commands of
 * the handler and stores the record, so each event has its effect once.
 *
 * Redis does not roll back. If the server refuses a command after another one has taken effect, for example because a
 * key has another type, the attempt fails with a `NonRetryableError`, and the event is dead-lettered and not repeated.
 *
 * @example
 * import { createClient } from 'redis'
 *
 * const client = createClient({ url: 'redis://localhost:6379' })
 * await client.connect()
 * const inbox = new RedisInbox({ client })
 * bus.subscribe(
 *   OrderPaid,
 *   inbox.once('count-sales', (event, { tx }) => {
 *     tx.add(['HINCRBY', 'sales', event.aggregateId, event.amount])
 *   }),
 * )
 */
export class RedisInbox {
  readonly #scripts: InboxScripts
  readonly #keyPrefix: string
  readonly #limits: InboxLimits

  /** @throws ConfigError */
  constructor(options: RedisInboxOptions) {
    const { client, keyPrefix, retentionMs, lockMs } = resolveOptions(
      'RedisInbox',
      options,
      redisInboxDefaults,
      redisInboxRules,
    )
    if (client === undefined) throw new ConfigError('RedisInbox', ['client is required'])
    this.#scripts = new InboxScripts(client)
    this.#keyPrefix = keyPrefix
    this.#limits = { retentionMs, lockMs }
  }

  /**
   * Wraps a handler so that the commands that it adds to `tx` run once for each event, however often the event is
   * delivered. A redelivery, a replay or a second worker finds the record and does nothing. If two workers handle the
   * event at once, the second waits for the first and then does nothing. If the handler fails, none of its commands
   * runs, and the next attempt starts again.
   *
   * @param name - identifies the handler. Records of another name are ignored, so do not change the name when the code
   * moves.
   */
  once<E extends DomainEvent>(name: string, handler: RedisInboxHandler<E>): EventHandler<E> {
    return {
      name,
      handle: (event: E, context: HandlerContext) => this.#handle(name, handler, event, context),
    }
  }

  /** True if a handler has handled an event and its commands have run. */
  has(handlerName: string, eventId: string): Promise<boolean> {
    return this.#scripts.has(this.#keysOf(handlerName, eventId))
  }

  async #handle<E extends DomainEvent>(
    name: string,
    handler: RedisInboxHandler<E>,
    event: E,
    context: HandlerContext,
  ): Promise<void> {
    const { signal } = context
    const attempt = new InboxAttempt(this.#scripts, this.#keysOf(name, event.eventId), this.#limits, signal)
    const collect = async () => {
      const tx = new RedisEffects()
      await handler(event, new TransactionRun(context, tx, idempotencyKeyOf(name, event)))
      return tx.end()
    }
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
      if (await attempt.isOver(collect)) return
      await sleep(waitMs, signal)
    }
  }

  /** The name is encoded so that keys of different names differ, and the first hash tag is that of the prefix. */
  #keysOf(handlerName: string, eventId: string): InboxKeys {
    const id = `${encodeURIComponent(handlerName)}:${encodeURIComponent(eventId)}`
    return { note: `${this.#keyPrefix}:note:${id}`, lock: `${this.#keyPrefix}:lock:${id}` }
  }
}
