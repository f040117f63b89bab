import { setTimeout as delay } from 'node:timers/promises'
import type { EventCodec } from '../../codec/index.ts'
import { ConfigError, describeValue } from '../../errors.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import {
  booleanOption,
  nonEmptyText,
  type OptionRule,
  oneOf,
  optional,
  positiveInteger,
  positiveIntegerOrInfinity,
  resolveOptions,
} from '../../kit/options.ts'
import type { DeadLetterReason, DeadLetterStore, StoredDeadLetter } from '../../transport/transport.ts'

/** A message that failed for good, and why. Fields that eventsource-py does not write are undefined in its dead letters. */
export interface DeadLetter {
  /** Identifies the dead letter in `get`, `replay` and `purge`. */
  readonly id: string
  readonly eventId: string | undefined
  readonly eventType: string | undefined
  readonly aggregateId: string | undefined
  readonly headers: Readonly<Record<string, string>>
  /** The original body, bit for bit. */
  readonly body: Uint8Array
  /** The decoded event; a `GenericEvent` if its type is unknown here, undefined if the body cannot be decoded. */
  readonly event: DomainEvent | undefined
  readonly reason: DeadLetterReason['kind'] | undefined
  readonly errorName: string | undefined
  readonly errorMessage: string | undefined
  /** Names of the handlers that had not succeeded. */
  readonly handlerNames: readonly string[] | undefined
  /** The handlers that had succeeded. */
  readonly settledHandlers: readonly string[] | undefined
  readonly consumerGroup: string | undefined
  readonly attempts: number | undefined
  readonly firstFailedAt: Date | undefined
  readonly lastFailedAt: Date | undefined
  /** Origin of the message in the broker's terms, such as a queue or a topic with partition and offset. */
  readonly source: string | undefined
}

/** Selects the dead letters that match every given field. */
export interface DeadLetterFilter {
  readonly eventType?: string
  readonly aggregateId?: string
  readonly consumerGroup?: string
  readonly handlerName?: string
  readonly reason?: DeadLetterReason['kind']
  /** The `name` of the error. */
  readonly errorName?: string
  /** A part of the error's text. */
  readonly errorMessage?: string
  /** Only dead letters whose last failure was before this time. One without a time matches no time. */
  readonly failedBefore?: Date
  /** Only dead letters whose last failure was at this time or later. */
  readonly failedSince?: Date
}

export interface ReplayAllOptions {
  /** Maximum number of replays per second. Default Infinity. */
  readonly ratePerSecond?: number
  /** Only count the dead letters that match. Default false. */
  readonly dryRun?: boolean
}

export interface DeadLetterListOptions {
  /** Maximum number of dead letters on the page. Default 100. */
  readonly limit?: number
  /** The `cursor` of the previous page. */
  readonly cursor?: string
}

export interface DeadLetterList {
  /** Oldest first. */
  readonly deadLetters: readonly DeadLetter[]
  /** Pass it to `list` for the next page; undefined after the last. */
  readonly cursor: string | undefined
}

const PAGE = 100

/** Lists, replays and purges dead letters. Connects the bus if needed; the bus does not have to consume. */
export class DeadLetterQueue {
  readonly #store: DeadLetterStore
  readonly #codec: EventCodec
  readonly #handlers: HandlerRegistry
  readonly #group: string
  readonly #connect: () => Promise<void>

  constructor(parts: {
    readonly store: DeadLetterStore
    readonly codec: EventCodec
    readonly handlers: HandlerRegistry
    readonly group: string
    readonly connect: () => Promise<void>
  }) {
    this.#store = parts.store
    this.#codec = parts.codec
    this.#handlers = parts.handlers
    this.#group = parts.group
    this.#connect = parts.connect
  }

  /** A page of dead letters, oldest first. Reading changes nothing. */
  async list(options: DeadLetterListOptions = {}): Promise<DeadLetterList> {
    const defaults = { limit: PAGE, cursor: undefined as string | undefined }
    const rules = { limit: positiveInteger, cursor: optional(nonEmptyText) }
    const { limit, cursor } = resolveOptions('deadLetters.list', options, defaults, rules)
    await this.#connect()
    const page = await this.#store.list(limit, cursor)
    return { deadLetters: page.letters.map((letter) => this.#describe(letter)), cursor: page.cursor }
  }

  /** Reads one dead letter. @returns undefined if there is none with this id. */
  async get(id: string): Promise<DeadLetter | undefined> {
    await this.#connect()
    const letter = await this.#store.get(id)
    return letter === undefined ? undefined : this.#describe(letter)
  }

  /** Number of dead letters. */
  async count(): Promise<number> {
    await this.#connect()
    return this.#store.count()
  }

  /**
   * Gives a dead letter back to the consumer group and the handlers that failed, and to no others. A dead letter that
   * eventsource-py wrote goes to all handlers of this bus's group. A crash in between can replay it twice.
   *
   * @returns false if there is none with this id.
   */
  async replay(id: string): Promise<boolean> {
    await this.#connect()
    return this.#store.replay(id, this.#group)
  }

  /**
   * Replays all dead letters that match now, oldest first. A replay that fails again during the call is not repeated.
   * @returns the number of replayed dead letters; with `dryRun`, of those that match.
   */
  async replayAll(filter: DeadLetterFilter = {}, options: ReplayAllOptions = {}): Promise<number> {
    checkFilter('deadLetters.replayAll', filter)
    const { ratePerSecond, dryRun } = resolveOptions(
      'deadLetters.replayAll',
      options,
      replayDefaults,
      replayRules,
    )
    const ids = await this.#matching(filter)
    if (dryRun) return ids.length
    const startedAt = performance.now()
    let replayed = 0
    for (const [index, id] of ids.entries()) {
      const earlyMs = startedAt + (index * 1000) / ratePerSecond - performance.now()
      if (earlyMs > 0) await delay(earlyMs)
      if (await this.#store.replay(id, this.#group)) replayed += 1
    }
    return replayed
  }

  /**
   * Removes one dead letter by its id, or all that match a filter (`{}` matches all). This cannot be undone.
   * @returns the number of removed dead letters.
   * @throws ConfigError without an argument, for an unknown filter field, and for a field that is undefined: such a call
   * would remove more than it means to.
   */
  async purge(which: string | DeadLetterFilter): Promise<number> {
    checkPurge(which)
    await this.#connect()
    const ids = typeof which === 'string' ? [which] : await this.#matching(which)
    let removed = 0
    for (let start = 0; start < ids.length; start += PAGE) {
      removed += await this.#store.remove(ids.slice(start, start + PAGE))
    }
    return removed
  }

  /** The ids of the dead letters that match now, without those that are added during the call. */
  async #matching(filter: DeadLetterFilter): Promise<readonly string[]> {
    await this.#connect()
    const ids: string[] = []
    let cursor: string | undefined
    do {
      const page = await this.#store.list(PAGE, cursor)
      for (const letter of page.letters) if (matches(this.#describe(letter), filter)) ids.push(letter.id)
      cursor = page.cursor
    } while (cursor !== undefined)
    return ids
  }

  #describe({ id, message, reason, source }: StoredDeadLetter): DeadLetter {
    const event = this.#decode({ id, message, reason, source })
    const { headers, body } = message
    return {
      id,
      eventId: event?.eventId ?? headers['event_id'],
      eventType: event?.eventType ?? headers['event_type'],
      aggregateId: event?.aggregateId ?? headers['aggregate_id'],
      headers,
      body: typeof body === 'string' ? Buffer.from(body) : body,
      event,
      reason: reason.kind,
      errorName: reason.errorName,
      errorMessage: reason.errorMessage,
      handlerNames: reason.handlerNames,
      settledHandlers: reason.settledHandlers,
      consumerGroup: reason.consumerGroup,
      attempts: reason.attempts,
      firstFailedAt: reason.firstFailedAt,
      lastFailedAt: reason.failedAt,
      source,
    }
  }

  #decode({ message }: StoredDeadLetter): DomainEvent | undefined {
    try {
      return this.#codec.decode(message, this.#handlers.classFor)
    } catch {
      // A dead letter may be here because it cannot be decoded. Its body is in the result.
      return undefined
    }
  }
}

const replayDefaults = { ratePerSecond: Number.POSITIVE_INFINITY, dryRun: false }

const replayRules: Readonly<Record<keyof typeof replayDefaults, OptionRule>> = {
  ratePerSecond: positiveIntegerOrInfinity,
  dryRun: booleanOption,
}

const time: OptionRule = {
  rule: 'a valid Date',
  isValid: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
}

const filterRules: Readonly<Record<keyof DeadLetterFilter, OptionRule>> = {
  eventType: optional(nonEmptyText),
  aggregateId: optional(nonEmptyText),
  consumerGroup: optional(nonEmptyText),
  handlerName: optional(nonEmptyText),
  errorName: optional(nonEmptyText),
  errorMessage: optional(nonEmptyText),
  failedBefore: optional(time),
  failedSince: optional(time),
  reason: optional(
    oneOf(
      'max_retries_exceeded',
      'rejected',
      'deserialization_error',
      'delivery_limit_exceeded',
      'handler_not_found',
    ),
  ),
}

function checkFilter(call: string, filter: unknown): void {
  resolveOptions(call, filter, {}, filterRules)
}

function checkPurge(which: unknown): void {
  const call = 'deadLetters.purge'
  if (typeof which === 'string') return
  if (typeof which !== 'object' || which === null) {
    throw new ConfigError(call, [
      `pass the id of a dead letter, or a filter ({} removes all), got ${describeValue(which)}`,
    ])
  }
  const unset = Object.keys(which).filter((name) => (Reflect.get(which, name) ?? undefined) === undefined)
  if (unset.length > 0) {
    throw new ConfigError(call, [`${unset.join(' and ')} must have a value, or be left out to match all`])
  }
  checkFilter(call, which)
}

function matches(letter: DeadLetter, filter: DeadLetterFilter): boolean {
  return (
    (filter.eventType === undefined || letter.eventType === filter.eventType) &&
    (filter.aggregateId === undefined || letter.aggregateId === filter.aggregateId) &&
    (filter.consumerGroup === undefined || letter.consumerGroup === filter.consumerGroup) &&
    (filter.handlerName === undefined || (letter.handlerNames?.includes(filter.handlerName) ?? false)) &&
    (filter.reason === undefined || letter.reason === filter.reason) &&
    (filter.errorName === undefined || letter.errorName === filter.errorName) &&
    (filter.errorMessage === undefined || (letter.errorMessage?.includes(filter.errorMessage) ?? false)) &&
    isWithin(letter.lastFailedAt, filter)
  )
}

function isWithin(failedAt: Date | undefined, { failedBefore, failedSince }: DeadLetterFilter): boolean {
  if (failedBefore === undefined && failedSince === undefined) return true
  if (failedAt === undefined) return false
  return (
    (failedBefore === undefined || failedAt < failedBefore) &&
    (failedSince === undefined || failedAt >= failedSince)
  )
}
