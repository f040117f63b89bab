import type { NewerEvent } from '../../codec/decode-error.ts'
import { EventspineError, toError } from '../../errors.ts'
import type { EventClass } from '../../events/event-class.ts'
import { eventTypesOf } from '../../events/event-registry.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import { READ_BACKOFF, REQUEST_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { sleep } from '../../kit/time.ts'
import type { Logger } from '../../observability/logger.ts'
import type { GroupTypeStore } from '../../transport/transport.ts'

/** Interval between two announcements of a consumer, in milliseconds. */
const RENEW_MS = 60_000
/** Maximum number of names whose answers are kept: any producer can invent types. */
const MAX_ANSWERS = 1000
/** What a member announces that handles all types. */
const ALL = '*'
/** Maximum number of versions that are announced for a type, the latest ones: a version may be any integer. */
const MAX_VERSIONS = 20

interface Answer {
  readonly isHandled: boolean
  /** When the question was sent, by the monotonic clock. */
  readonly askedAt: number
}

export interface GroupTypesParts {
  /** Undefined if the transport cannot store what the group handles. */
  readonly store: GroupTypeStore | undefined
  readonly handlers: HandlerRegistry
  readonly logger: Logger
}

/**
 * Announces the event types that this process handles, and the versions that it can read, to its group, and asks what the
 * group handles and can read. The transport stores both as names.
 */
export class GroupTypes {
  readonly #parts: GroupTypesParts
  readonly #answers = new Map<string, Answer>()
  #asked = new Set<string>()
  #asking: Promise<void> | undefined
  /** All names that this process has announced: without a subscription now, they are its own former ones. */
  readonly #own = new Set<string>()
  #announced = ''
  #isRefused = false

  constructor(parts: GroupTypesParts) {
    this.#parts = parts
  }

  /**
   * Announces the types, and again after each change of the subscriptions, and regularly, until the signal aborts. Resolves
   * after the first attempt: consuming must not wait for a broker that refuses publishes for a time.
   */
  async start(stopped: AbortSignal): Promise<void> {
    if (this.#store === undefined) return
    const announce = () => void this.#announceUntilDone(stopped)
    await this.#announce(stopped).catch(announce)
    const timer = setInterval(announce, RENEW_MS).unref()
    const unlisten = this.#parts.handlers.onChange(() => {
      if (JSON.stringify(this.#names) !== this.#announced) announce()
    })
    const end = () => {
      clearInterval(timer)
      unlisten()
    }
    if (stopped.aborted) end()
    else stopped.addEventListener('abort', end, { once: true })
  }

  /** True if certainly no member of the group handles the type; false if one does, or if that must be asked. */
  isUnhandled(eventType: string): boolean {
    const store = this.#store
    const names = [eventType, ALL]
    if (store === undefined || this.#isOwn(names)) return true
    const known = this.#known(names, store)
    if (known !== undefined) return !known
    return store.handledNow?.(names)?.size === 0
  }

  /** Whether another member of the group handles the type. Waits for the broker. @returns true if the signal aborts. */
  isHandled(eventType: string, signal: AbortSignal): Promise<boolean> {
    return this.#isAnnounced([eventType, ALL], signal)
  }

  /** Whether another member of the group can read the version. Waits for the broker. @returns true if the signal aborts. */
  isReadable({ eventType, eventVersion }: NewerEvent, signal: AbortSignal): Promise<boolean> {
    return this.#isAnnounced([versionName(eventType, eventVersion)], signal)
  }

  async #isAnnounced(names: readonly string[], signal: AbortSignal): Promise<boolean> {
    const store = this.#store
    if (store === undefined || this.#isOwn(names)) return false
    const known = this.#known(names, store)
    if (known !== undefined) return known
    while (!signal.aborted) {
      for (const name of names) this.#asked.add(name)
      this.#asking ??= this.#ask(store, signal).finally(() => {
        this.#asking = undefined
      })
      await this.#asking
      // The question may have been sent before these names were added.
      if (!signal.aborted && !names.some((name) => this.#asked.has(name))) {
        return names.some((name) => this.#answers.get(name)?.isHandled === true)
      }
    }
    return true
  }

  get #store(): GroupTypeStore | undefined {
    return this.#isRefused ? undefined : this.#parts.store
  }

  get #names(): readonly string[] {
    const { handlers } = this.#parts
    const types = handlers.subscribedClasses().flatMap(eventTypesOf)
    const versions = handlers.readableClasses().flatMap(versionNames)
    return [...(handlers.wildcardCount() > 0 ? [ALL] : []), ...types, ...versions].sort()
  }

  #isOwn(names: readonly string[]): boolean {
    return names.some((name) => this.#own.has(name))
  }

  /** The answer to a recent question; undefined if there is none. */
  #known(names: readonly string[], { freshMs }: GroupTypeStore): boolean | undefined {
    const answers = names.map((name) => this.#answers.get(name))
    const isFresh = (answer: Answer | undefined) =>
      answer !== undefined && performance.now() - answer.askedAt < freshMs
    return answers.every(isFresh) ? answers.some((answer) => answer?.isHandled === true) : undefined
  }

  async #announceUntilDone(stopped: AbortSignal): Promise<void> {
    await retryUntilDone(() => this.#announce(stopped), {
      backoff: READ_BACKOFF,
      signal: stopped,
      // The counters and log lines of the connection report the outage.
      onFailure: () => undefined,
    })
  }

  async #announce(stopped: AbortSignal): Promise<void> {
    const store = this.#store
    const names = this.#names
    this.#announced = JSON.stringify(names)
    if (store === undefined || names.length === 0) return
    for (const name of names) this.#own.add(name)
    try {
      // Other members may use answers of before the announcement for `freshMs`.
      if (await store.announce(names)) await sleep(2 * store.freshMs, stopped)
    } catch (thrown) {
      if (!this.#giveUpOn(toError(thrown))) throw thrown
    }
  }

  async #ask(store: GroupTypeStore, signal: AbortSignal): Promise<void> {
    // Deliveries of one turn share a question.
    await Promise.resolve()
    const names = [...this.#asked]
    this.#asked = new Set()
    await retryUntilDone(
      async () => {
        const askedAt = performance.now()
        const handled = await store.handled(names)
        if (this.#answers.size + names.length > MAX_ANSWERS) this.#answers.clear()
        for (const name of names) this.#answers.set(name, { isHandled: handled.has(name), askedAt })
      },
      {
        backoff: REQUEST_BACKOFF,
        signal,
        onFailure: (error) => {
          if (this.#giveUpOn(error)) throw error
        },
      },
    ).catch(() => undefined)
  }

  /** @returns true if the broker refuses the store for good, such as a user without the permission. */
  #giveUpOn(error: Error): boolean {
    if (error instanceof EventspineError && error.retryable) return false
    if (!this.#isRefused) {
      this.#parts.logger.warn(
        'event types are not shared within the consumer group, because the broker refused it',
        { error },
      )
    }
    this.#isRefused = true
    return true
  }
}

/** The versions of an event that a class can read in addition to version 1, under all names of the event. */
function versionNames(eventClass: EventClass): readonly string[] {
  const { schemaVersion } = eventClass
  const count = Math.min(schemaVersion - 1, MAX_VERSIONS)
  const versions = Array.from({ length: count }, (_, index) => schemaVersion - index)
  return eventTypesOf(eventClass).flatMap((type) => versions.map((version) => versionName(type, version)))
}

/** A line break keeps it apart from event types. */
function versionName(eventType: string, version: number): string {
  return `${eventType}\n${version}`
}
