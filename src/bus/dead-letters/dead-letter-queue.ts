import type { EventCodec } from '../../codec/index.ts'
import { ConfigError, describeValue } from '../../errors.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import {
  nonEmptyText,
  type OptionRule,
  oneOf,
  optional,
  positiveInteger,
  resolveOptions,
} from '../../kit/options.ts'
import type { DeadLetterReason, DeadLetterStore, StoredDeadLetter } from '../../transport/transport.ts'

/**
 * A message that was dead-lettered, with the reason. Fields that eventsource-py does not write are undefined in its
 * dead letters.
 */
export interface DeadLetter {
  /** Identifies the dead letter in `get`, `replay` and `purge`. */
  readonly id: string
  readonly eventId: string | undefined
  readonly eventType: string | undefined
  readonly aggregateId: string | undefined
  readonly headers: Readonly<Record<string, string>>
  /** The unchanged original body. */
  readonly body: Uint8Array
  /** The decoded event; a `GenericEvent` if its type is unknown here, undefined if the body cannot be decoded. */
  readonly event: DomainEvent | undefined
  readonly reason: DeadLetterReason['kind'] | undefined
  readonly errorName: string | undefined
  readonly errorMessage: string | undefined
  /** The stack of the error, if the bus that stored the dead letter had `deadLetterStacks`. */
  readonly errorStack: string | undefined
  /** Names of the handlers that had not succeeded. */
  readonly handlerNames: readonly string[] | undefined
  /** The handlers that had succeeded. */
  readonly settledHandlers: readonly string[] | undefined
  readonly consumerGroup: string | undefined
  readonly attempts: number | undefined
  readonly firstFailedAt: Date | undefined
  readonly lastFailedAt: Date | undefined
  /** Origin of the message in the terms of the broker, for example a queue, or a topic with partition and offset. */
  readonly source: string | undefined
}

/** Selects the dead letters that match every given field. */
export interface DeadLetterFilter {
  readonly eventType?: string
  readonly aggregateId?: string
  readonly consumerGroup?: string
  readonly handlerName?: string
  readonly reason?: DeadLetterReason['kind']
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
  /** Pass it to `list` for the next page; undefined after the last page. */
  readonly cursor: string | undefined
}

const PAGE = 100

/** Lists, replays and purges dead letters. Connects the bus if necessary; the bus does not have to consume. */
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

  /** Number of dead letters of all consumer groups. */
  async count(): Promise<number> {
    await this.#connect()
    return this.#store.count()
  }

  /**
   * Replays a dead letter to the consumer group and the handlers that failed, and to no others. A dead letter that
   * eventsource-py wrote goes to all handlers of this bus's group. A crash in between can replay it twice.
   *
   * @returns false if there is none with this id.
   */
  async replay(id: string): Promise<boolean> {
    await this.#connect()
    return this.#store.replay(id, this.#group)
  }

  /**
   * Replays all dead letters that match at the time of the call, oldest first. A message that fails again during the
   * call is not replayed again.
   * @returns the number of replayed dead letters.
   */
  async replayAll(filter: DeadLetterFilter = {}): Promise<number> {
    checkFilter('deadLetters.replayAll', filter)
    const ids = await this.#matching(filter)
    let replayed = 0
    for (const id of ids) if (await this.#store.replay(id, this.#group)) replayed += 1
    return replayed
  }

  /**
   * Removes one dead letter by its id, or all that match a filter (`{}` matches all). This cannot be undone.
   * @returns the number of removed dead letters.
   * @throws ConfigError without an argument, for an unknown filter field, and for a field that is undefined, because
   * such a call would remove more than intended.
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

  /** The ids of the dead letters that match at the time of the call, without those that are added during the call. */
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
      errorStack: reason.errorStack,
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
      // A message that cannot be decoded is dead-lettered, so this is not an error. The result has the body.
      return undefined
    }
  }
}

const filterRules: Readonly<Record<keyof DeadLetterFilter, OptionRule>> = {
  eventType: optional(nonEmptyText),
  aggregateId: optional(nonEmptyText),
  consumerGroup: optional(nonEmptyText),
  handlerName: optional(nonEmptyText),
  reason: optional(
    oneOf('max_retries_exceeded', 'deserialization_error', 'delivery_limit_exceeded', 'handler_not_found'),
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
    throw new ConfigError(call, [`${unset.join(' and ')} must have a value; omit a field to match all`])
  }
  checkFilter(call, which)
}

function matches(letter: DeadLetter, filter: DeadLetterFilter): boolean {
  return (
    (filter.eventType === undefined || letter.eventType === filter.eventType) &&
    (filter.aggregateId === undefined || letter.aggregateId === filter.aggregateId) &&
    (filter.consumerGroup === undefined || letter.consumerGroup === filter.consumerGroup) &&
    (filter.handlerName === undefined || (letter.handlerNames?.includes(filter.handlerName) ?? false)) &&
    (filter.reason === undefined || letter.reason === filter.reason)
  )
}
