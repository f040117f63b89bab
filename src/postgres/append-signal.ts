import { toError } from '../errors.ts'
import type { Logger } from '../observability/logger.ts'
import type { PostgresConnections } from './connections.ts'
import { STORE } from './errors.ts'
import type { FeedEnd, PostgresFeed } from './feed.ts'
import { ServiceConnection } from './service-connection.ts'

/**
 * Minimum time between two notifications of a process, in milliseconds. Each notification takes a lock on the whole
 * server.
 */
const NOTIFY_EVERY_MS = 10

/** Delay of the next poll after new events, in milliseconds. It doubles while there are none. */
const SHORTEST_POLL_MS = 20

/** Delay before a notification that failed is sent again, in milliseconds. */
const RESEND_MS = 1000

/** Prefix of the payload that reports a released lease. */
const LEASE = 'lease '

export interface AppendSignalParts {
  readonly connections: PostgresConnections
  readonly feed: PostgresFeed
  /** Reads the end of the outbox. */
  readonly outboxHead: () => Promise<number>
  readonly schema: string
  readonly isListening: boolean
  /** Resolves when the schema exists. */
  readonly ready: () => Promise<void>
  readonly pollIntervalMs: number
  readonly logger: Logger
}

/**
 * Wakes the listeners after appends of this process and after notifications of other processes. It polls the end of the
 * feed if notifications do not arrive, or while an open append holds back events that were notified.
 */
export class AppendSignal {
  readonly service: ServiceConnection
  readonly #parts: AppendSignalParts
  readonly #listeners = new Set<() => void>()
  readonly #leaseListeners = new Set<() => void>()
  /** One entry for each listener that reads the outbox. */
  readonly #outboxReaders = new Set<object>()
  #notifiedAt = Number.NEGATIVE_INFINITY
  #notifyTimer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined
  #isOwing = false
  #pollTimer: NodeJS.Timeout | undefined
  #pollMs = SHORTEST_POLL_MS
  /** The ends of the feed and of the outbox at the last wake-up that they caused. */
  #wokenAt = { head: 0, outboxHead: 0 }
  #isHeld = false
  /** True if the last poll of the feed failed. */
  #isUnsure = false
  #isClosed = false

  constructor(parts: AppendSignalParts) {
    this.#parts = parts
    this.service = new ServiceConnection(parts.connections, parts.logger, {
      onNotification: (payload) => this.#notified(payload),
      // Notifications sent in between are lost.
      onListening: (isListening) => {
        if (isListening && this.#isOwing) this.#sendAfter(0)
        if (isListening) void this.#lookAfterGap()
        this.#pollSoon()
      },
    })
  }

  /** The payload that a caller's transaction sends with its commit; null if no process listens. */
  get payload(): string | null {
    return this.#parts.isListening ? this.#parts.schema : null
  }

  onAppend(listener: () => void): () => void {
    // A new function per call, so that the same listener can be added twice.
    const entry = () => listener()
    this.#listeners.add(entry)
    this.#listen()
    this.#pollSoon()
    return () => void this.#listeners.delete(entry)
  }

  /** As `onAppend`, for readers of the outbox: its end is watched, too. */
  onOutbox(listener: () => void): () => void {
    const end = this.onAppend(listener)
    this.#outboxReaders.add(end)
    return () => {
      this.#outboxReaders.delete(end)
      end()
    }
  }

  onRelease(listener: () => void): () => void {
    const entry = () => listener()
    this.#leaseListeners.add(entry)
    this.#listen()
    return () => void this.#leaseListeners.delete(entry)
  }

  /** Called after a commit of this process. */
  written(): void {
    this.#wake()
    if (!this.#parts.isListening || this.#isClosed) return
    this.#isOwing = true
    this.#sendAfter(this.#notifiedAt + NOTIFY_EVERY_MS - performance.now())
  }

  released(): void {
    this.#wakeLeases()
    if (!this.#parts.isListening || this.#isClosed) return
    this.service
      .notify(LEASE + this.#parts.schema)
      .catch((error: unknown) =>
        this.#parts.logger.warn('notifying failed', { store: STORE, error: toError(error) }),
      )
  }

  /**
   * Called with each read of the end of the feed. While an open append holds the feed back, the signal polls until that
   * append ends.
   */
  seen({ isHeld }: FeedEnd): void {
    const wasHeld = this.#isHeld
    this.#isHeld = isHeld
    if (isHeld && !wasHeld) this.#pollSoon()
  }

  /** Sends the pending notification to other processes, then releases the connection. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#pollTimer)
    clearTimeout(this.#notifyTimer)
    await this.#sending
    if (this.#isOwing) await this.#send()
    await this.service.close()
  }

  /** Starts to listen once the stores can be used. */
  #listen(): void {
    if (!this.#parts.isListening || this.#isClosed) return
    this.#parts.ready().then(
      () => this.service.listen(),
      () => setTimeout(() => this.#listen(), this.#parts.pollIntervalMs).unref(), // the callers of the stores get the error
    )
  }

  #notified(payload: string): void {
    if (payload === this.#parts.schema) this.#wake()
    else if (payload === LEASE + this.#parts.schema) this.#wakeLeases()
  }

  #sendAfter(waitMs: number): void {
    if (this.#notifyTimer !== undefined || this.#sending !== undefined || this.#isClosed) return
    if (waitMs > 0) this.#notifyTimer = setTimeout(() => this.#startSending(), waitMs)
    else this.#startSending()
  }

  #startSending(): void {
    this.#notifyTimer = undefined
    this.#sending = this.#send().then((isSent) => {
      this.#sending = undefined
      if (this.#isOwing) this.#sendAfter(isSent ? NOTIFY_EVERY_MS : RESEND_MS)
    })
  }

  /** Never rejects: a notification that could not be sent stays pending. @returns true if it was sent. */
  async #send(): Promise<boolean> {
    this.#isOwing = false
    this.#notifiedAt = performance.now()
    try {
      await this.service.notify(this.#parts.schema)
      return true
    } catch (thrown) {
      this.#isOwing = true
      this.#parts.logger.debug('notifying failed', { store: STORE, error: toError(thrown) })
      return false
    }
  }

  #wake(): void {
    this.#callAll(this.#listeners)
  }

  #wakeLeases(): void {
    this.#callAll(this.#leaseListeners)
  }

  #callAll(listeners: ReadonlySet<() => void>): void {
    for (const listener of listeners) {
      try {
        listener()
      } catch (thrown) {
        this.#parts.logger.error('a listener of onAppend failed', { error: toError(thrown) })
      }
    }
  }

  get #needsPolling(): boolean {
    if (this.#isClosed || this.#listeners.size === 0) return false
    return this.#isHeld || this.#isUnsure || !this.service.isListening
  }

  #pollSoon(): void {
    this.#pollMs = SHORTEST_POLL_MS
    clearTimeout(this.#pollTimer)
    this.#pollTimer = undefined
    this.#pollLater()
  }

  #pollLater(): void {
    if (!this.#needsPolling) return
    this.#pollTimer ??= setTimeout(() => void this.#poll(), this.#pollMs)
  }

  /** Wakes all listeners if the feed or the outbox has grown since the last wake-up for its end. Never rejects. */
  async #lookAfterGap(): Promise<void> {
    this.#wakeLeases()
    try {
      if (await this.#hasGrown()) this.#wake()
    } catch (thrown) {
      this.#parts.logger.debug('reading the end of the feed failed', {
        store: STORE,
        error: toError(thrown),
      })
      this.#isUnsure = true
      this.#pollSoon()
    }
  }

  async #hasGrown(): Promise<boolean> {
    const before = this.#wokenAt
    const { head } = await this.#parts.feed.end()
    const outboxHead = this.#outboxReaders.size > 0 ? await this.#parts.outboxHead() : before.outboxHead
    this.#wokenAt = { head, outboxHead }
    this.#isUnsure = false
    return head !== before.head || outboxHead !== before.outboxHead
  }

  /** Never rejects. */
  async #poll(): Promise<void> {
    let isNew = false
    try {
      isNew = await this.#hasGrown()
    } catch (thrown) {
      // The server does not answer. Readers receive the same failure, and read again when it answers.
      this.#parts.logger.debug('checking the end of the feed failed', {
        store: STORE,
        error: toError(thrown),
      })
    }
    this.#pollTimer = undefined
    this.#pollMs = isNew ? SHORTEST_POLL_MS : Math.min(this.#pollMs * 2, this.#parts.pollIntervalMs)
    if (isNew) this.#wake()
    this.#pollLater()
  }
}
