import { EventspineError, toError } from '../../errors.ts'
import { eventTypesOf } from '../../events/event-registry.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import { READ_BACKOFF, REQUEST_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { sleep } from '../../kit/time.ts'
import type { Logger } from '../../observability/logger.ts'
import type { GroupTypeStore } from '../../transport/transport.ts'

/** Interval between two announcements of a consumer, in milliseconds. */
const RENEW_MS = 60_000
/** Maximum number of event types whose answers are kept: any producer can invent types. */
const MAX_ANSWERS = 1000

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

/** Announces the event types that this process handles to its group, and asks what the group handles. */
export class GroupTypes {
  readonly #parts: GroupTypesParts
  readonly #answers = new Map<string, Answer>()
  #asked = new Set<string>()
  #asking: Promise<void> | undefined
  /** All types that this process has announced: without a subscription now, they are its own former ones. */
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
      if (this.#types.join('\n') !== this.#announced) announce()
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
    if (store === undefined || this.#isOwn(eventType)) return true
    const answer = this.#fresh(eventType, store)
    if (answer !== undefined) return !answer.isHandled
    const now = store.handledNow?.([eventType])
    return now !== undefined && !now.has(eventType)
  }

  /** Whether another member of the group handles the type. Waits for the broker. @returns true if the signal aborts. */
  async isHandled(eventType: string, signal: AbortSignal): Promise<boolean> {
    const store = this.#store
    if (store === undefined || this.#isOwn(eventType)) return false
    const known = this.#fresh(eventType, store)
    if (known !== undefined) return known.isHandled
    while (!signal.aborted) {
      this.#asked.add(eventType)
      this.#asking ??= this.#ask(store, signal).finally(() => {
        this.#asking = undefined
      })
      await this.#asking
      // The question may have been sent before this type was added.
      if (!signal.aborted && !this.#asked.has(eventType)) {
        return this.#answers.get(eventType)?.isHandled ?? false
      }
    }
    return true
  }

  get #store(): GroupTypeStore | undefined {
    return this.#isRefused ? undefined : this.#parts.store
  }

  get #types(): readonly string[] {
    const { handlers } = this.#parts
    const names = handlers.subscribedClasses().flatMap(eventTypesOf)
    return [...(handlers.wildcardCount() > 0 ? ['*'] : []), ...names].sort()
  }

  #isOwn(eventType: string): boolean {
    return this.#own.has(eventType) || this.#own.has('*')
  }

  #fresh(eventType: string, { freshMs }: GroupTypeStore): Answer | undefined {
    const answer = this.#answers.get(eventType)
    return answer !== undefined && performance.now() - answer.askedAt < freshMs ? answer : undefined
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
    const types = this.#types
    this.#announced = types.join('\n')
    if (store === undefined || types.length === 0) return
    for (const type of types) this.#own.add(type)
    try {
      // Other members may use answers of before the announcement for `freshMs`.
      if (await store.announce(types)) await sleep(2 * store.freshMs, stopped)
    } catch (thrown) {
      if (!this.#giveUpOn(toError(thrown))) throw thrown
    }
  }

  async #ask(store: GroupTypeStore, signal: AbortSignal): Promise<void> {
    // Deliveries of one turn share a question.
    await Promise.resolve()
    const types = [...this.#asked]
    this.#asked = new Set()
    await retryUntilDone(
      async () => {
        const askedAt = performance.now()
        const handled = await store.handled(types)
        if (this.#answers.size + types.length > MAX_ANSWERS) this.#answers.clear()
        for (const type of types) this.#answers.set(type, { isHandled: handled.has(type), askedAt })
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
