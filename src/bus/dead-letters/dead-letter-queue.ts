import { setTimeout as delay } from 'node:timers/promises'
import type { EventCodec } from '../../codec/index.ts'
import type { DomainEvent } from '../../events/index.ts'
import { UNNAMED_HANDLER } from '../../handling/handler-entry.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import {
  booleanOption,
  nonEmptyText,
  type OptionRule,
  optional,
  positiveInteger,
  positiveIntegerOrInfinity,
  resolveOptions,
} from '../../kit/options.ts'
import type { DeadLetterStore, ReplayRequest, StoredDeadLetter } from '../../transport/transport.ts'
import { HandlerNotFoundError } from '../errors.ts'
import type { DeadLetter } from './dead-letter.ts'
import { checkFilter, checkPurge, type DeadLetterFilter, matches } from './dead-letter-filter.ts'
import { ReplayTargets } from './replay-targets.ts'

/** Where a replay goes. */
export interface DeadLetterReplayOptions {
  /** Names of the handlers that get the event, instead of those that failed. They get it even if they had succeeded. */
  readonly handlers?: readonly string[]
  /** The consumer group that gets the event, instead of the one that failed. Without `handlers`, all of its handlers do. */
  readonly group?: string
}

export interface ReplayAllOptions extends DeadLetterReplayOptions {
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
  readonly #targets: ReplayTargets
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
    this.#targets = new ReplayTargets(parts.handlers, parts.group)
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
   * Gives a dead letter back to the consumer group and the handlers that failed, and to no others, unless the options name
   * others. A dead letter that eventsource-py wrote goes to all handlers of this bus's group. A crash in between can
   * replay it twice.
   *
   * @returns false if there is none with this id.
   * @throws HandlerNotFoundError if this bus has handlers of the group, and none that the dead letter is for.
   * @throws ConfigError
   */
  async replay(id: string, options: DeadLetterReplayOptions = {}): Promise<boolean> {
    const request = this.#request(
      resolveOptions('deadLetters.replay', options, destination, destinationRules),
    )
    await this.#connect()
    const letter = this.#targets.isUnknown(request) ? undefined : await this.#store.get(id)
    const problem =
      letter === undefined ? undefined : this.#targets.problemOf(this.#describe(letter), request)
    if (problem !== undefined) throw new HandlerNotFoundError(problem, { ids: [id], replayed: 0 })
    return this.#store.replay(id, request)
  }

  /**
   * Replays all dead letters that match now, oldest first. A replay that fails again during the call is not repeated.
   * @returns the number of replayed dead letters; with `dryRun`, of those that match.
   * @throws HandlerNotFoundError at the end, if dead letters were left out because this bus has handlers of their group, and
   * none that they are for.
   */
  async replayAll(filter: DeadLetterFilter = {}, options: ReplayAllOptions = {}): Promise<number> {
    checkFilter('deadLetters.replayAll', filter)
    const resolved = resolveOptions('deadLetters.replayAll', options, replayDefaults, replayRules)
    const request = this.#request(resolved)
    const letters = await this.#matching(filter)
    if (resolved.dryRun) return letters.length
    const problems = new Map<string, string>()
    for (const { id, ...letter } of letters) {
      const problem = this.#targets.problemOf(letter, request)
      if (problem !== undefined) problems.set(id, problem)
    }
    const ids = letters.flatMap(({ id }) => (problems.has(id) ? [] : id))
    const replayed = await this.#replayEach(ids, request, resolved.ratePerSecond)
    const [problem] = problems.values()
    if (problem === undefined) return replayed
    throw new HandlerNotFoundError(problem, { ids: [...problems.keys()], replayed })
  }

  async #replayEach(ids: readonly string[], request: ReplayRequest, ratePerSecond: number): Promise<number> {
    const startedAt = performance.now()
    let replayed = 0
    for (const [index, id] of ids.entries()) {
      const earlyMs = startedAt + (index * 1000) / ratePerSecond - performance.now()
      if (earlyMs > 0) await delay(earlyMs)
      if (await this.#store.replay(id, request)) replayed += 1
    }
    return replayed
  }

  #request({ handlers, group }: typeof destination): ReplayRequest {
    return { handlerNames: handlers, group, fallbackGroup: this.#group }
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
    const ids = typeof which === 'string' ? [which] : (await this.#matching(which)).map(({ id }) => id)
    let removed = 0
    for (let start = 0; start < ids.length; start += PAGE) {
      removed += await this.#store.remove(ids.slice(start, start + PAGE))
    }
    return removed
  }

  /** What is needed of the dead letters that match now, without those that are added during the call. */
  async #matching(filter: DeadLetterFilter): Promise<readonly MatchingLetter[]> {
    await this.#connect()
    const matching: MatchingLetter[] = []
    let cursor: string | undefined
    do {
      const page = await this.#store.list(PAGE, cursor)
      for (const stored of page.letters) {
        const letter = this.#describe(stored)
        if (!matches(letter, filter)) continue
        // Not the whole letter: all of them together may be large.
        const { id, eventType, consumerGroup, handlerNames } = letter
        matching.push({ id, eventType, consumerGroup, handlerNames })
      }
      cursor = page.cursor
    } while (cursor !== undefined)
    return matching
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
      parkedFor: reason.parkedFor,
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

type MatchingLetter = Pick<DeadLetter, 'id' | 'eventType' | 'consumerGroup' | 'handlerNames'>

const destination = {
  handlers: undefined as readonly string[] | undefined,
  group: undefined as string | undefined,
}

const destinationRules: Readonly<Record<keyof typeof destination, OptionRule>> = {
  handlers: optional({
    rule: `a non-empty array of names other than ${UNNAMED_HANDLER}`,
    isValid: (value) => Array.isArray(value) && value.length > 0 && value.every(isHandlerName),
  }),
  group: optional(nonEmptyText),
}

export const replayDefaults = { ...destination, ratePerSecond: Number.POSITIVE_INFINITY, dryRun: false }

export const replayRules: Readonly<Record<keyof typeof replayDefaults, OptionRule>> = {
  ...destinationRules,
  ratePerSecond: positiveIntegerOrInfinity,
  dryRun: booleanOption,
}

function isHandlerName(value: unknown): boolean {
  return nonEmptyText.isValid(value) && value !== UNNAMED_HANDLER
}
