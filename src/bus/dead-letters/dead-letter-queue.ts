import type { EventCodec } from '../../codec/index.ts'
import { ConfigError, describeValue } from '../../errors.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import type { DeadLetterReason, DeadLetterStore, StoredDeadLetter } from '../../transport/transport.ts'

/** A message that was given up, and why. What eventsource-py did not write is undefined. */
export interface DeadLetter {
  /** Name of the dead letter, for `get`, `replay` and `purge`. */
  readonly id: string
  readonly eventId: string | undefined
  readonly eventType: string | undefined
  readonly aggregateId: string | undefined
  readonly headers: Readonly<Record<string, string>>
  /** The original body, bit for bit. */
  readonly body: Uint8Array
  /** The event, where the body can be decoded; a `GenericEvent` where its type is unknown here. */
  readonly event: DomainEvent | undefined
  readonly reason: DeadLetterReason['kind'] | undefined
  readonly errorName: string | undefined
  readonly errorMessage: string | undefined
  /** The handlers that had not succeeded. */
  readonly handlerNames: readonly string[] | undefined
  /** The handlers that had succeeded. */
  readonly settledHandlers: readonly string[] | undefined
  readonly consumerGroup: string | undefined
  readonly attempts: number | undefined
  readonly firstFailedAt: Date | undefined
  readonly lastFailedAt: Date | undefined
  /** Where the message came from, in the broker's terms. */
  readonly source: string | undefined
}

/** Which dead letters: all that match every field given. */
export interface DeadLetterFilter {
  readonly eventType?: string
  readonly aggregateId?: string
  readonly consumerGroup?: string
  readonly handlerName?: string
  readonly reason?: DeadLetterReason['kind']
}

export interface DeadLetterListOptions {
  /** How many at most. Default 100. */
  readonly limit?: number
  /** Where the last page ended. */
  readonly cursor?: string
}

export interface DeadLetterList {
  /** Oldest first. */
  readonly deadLetters: readonly DeadLetter[]
  /** For the next page; undefined at the end. */
  readonly cursor: string | undefined
}

const PAGE = 100

/** Inspect, replay and remove what was given up. Works while the bus is connected, consuming or not. */
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
  async list({ limit = PAGE, cursor }: DeadLetterListOptions = {}): Promise<DeadLetterList> {
    if (!Number.isSafeInteger(limit) || limit < 1) {
      throw new ConfigError('deadLetters.list', [
        `limit must be a positive integer, got ${describeValue(limit)}`,
      ])
    }
    await this.#connect()
    const page = await this.#store.list(limit, cursor)
    return { deadLetters: page.letters.map((letter) => this.#describe(letter)), cursor: page.cursor }
  }

  /** @returns undefined when there is none of that id. */
  async get(id: string): Promise<DeadLetter | undefined> {
    await this.#connect()
    const letter = await this.#store.get(id)
    return letter === undefined ? undefined : this.#describe(letter)
  }

  async count(): Promise<number> {
    await this.#connect()
    return this.#store.count()
  }

  /**
   * Gives a dead letter back to the consumer group and the handlers that failed, and to nobody else; one that
   * eventsource-py wrote goes to all handlers of this bus's group. At worst, after a crash, it is replayed twice.
   *
   * @returns false when there is none of that id.
   */
  async replay(id: string): Promise<boolean> {
    await this.#connect()
    return this.#store.replay(id, this.#group)
  }

  /**
   * Replays all that match, oldest first; those that fail again meanwhile are not replayed a second time.
   * @returns how many.
   */
  async replayAll(filter: DeadLetterFilter = {}): Promise<number> {
    const ids = await this.#matching(filter)
    let replayed = 0
    for (const id of ids) if (await this.#store.replay(id, this.#group)) replayed += 1
    return replayed
  }

  /**
   * Removes one dead letter, or all that match a filter (`{}` for all). They are gone for good.
   * @returns how many.
   */
  async purge(which: string | DeadLetterFilter): Promise<number> {
    await this.#connect()
    const ids = typeof which === 'string' ? [which] : await this.#matching(which)
    let removed = 0
    for (let start = 0; start < ids.length; start += PAGE) {
      removed += await this.#store.remove(ids.slice(start, start + PAGE))
    }
    return removed
  }

  /** The ids that match now; what is dead-lettered from here on is not among them. */
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
      // Undecodable is one of the reasons to be here; the body tells the rest.
      return undefined
    }
  }
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
