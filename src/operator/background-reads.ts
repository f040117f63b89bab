import { toError } from '../errors.ts'

/** A read that continues between the requests of a page. */
export interface Reading<T> {
  /** The result, or what is known of it so far; undefined before the first part. */
  readonly value: T | undefined
  readonly isComplete: boolean
  /** When the complete value was read. */
  readonly readAt: Date | undefined
}

/** Reads, and reports what is known so far. It ends early when the signal aborts. */
export type Read<T> = (parts: {
  readonly signal: AbortSignal
  readonly report: (part: T) => void
}) => Promise<T>

/** A read that nobody has asked for this long is aborted, in milliseconds. */
const ABANDONED_MS = 15_000
/** How long the end of a stopped read is waited for, in milliseconds. */
const STOP_MS = 1000
/** A result is shown at least this many times as long as it took to read, so that the broker rests in between. */
const REST = 20
/** Reads that are kept at once; further ones end the oldest. */
const MAX_READS = 50

interface Entry<T> {
  readonly stop: AbortController
  readonly startedAt: number
  readonly ended: Promise<void>
  value: T | undefined
  readAt: Date | undefined
  error: Error | undefined
  abandon: NodeJS.Timeout | undefined
}

/** Reads that take longer than a page may: the page shows what is known, and asks again. */
export class BackgroundReads<T> {
  readonly #closed: AbortSignal
  readonly #entries = new Map<string, Entry<T>>()
  /** The last complete value of each key, which is shown while it is read again. */
  readonly #former = new Map<string, Reading<T>>()

  constructor(closed: AbortSignal) {
    this.#closed = closed
  }

  /**
   * The result of a read. Starts it unless it runs, or ended less than `freshMs` ago (longer if it took long), and waits at most
   * `waitMs` for it.
   * @throws what the read throws.
   */
  async get(
    key: string,
    read: Read<T>,
    { waitMs, freshMs }: { readonly waitMs: number; readonly freshMs: number },
  ): Promise<Reading<T>> {
    const entry = this.#current(key, freshMs) ?? this.#start(key, read)
    this.#postponeAbandoning(entry)
    if (entry.readAt === undefined) await endedOrLate(entry.ended, waitMs)
    if (entry.error !== undefined) {
      this.#entries.delete(key)
      throw entry.error
    }
    const { value, readAt } = entry
    if (readAt !== undefined) return { value, isComplete: true, readAt }
    return this.#former.get(key) ?? { value, isComplete: false, readAt: undefined }
  }

  /** Forgets what was read, because something was changed. Reads that run are started again by the next request. */
  forget(prefix: string): void {
    for (const [key, { stop }] of this.#entries) {
      if (!key.startsWith(prefix)) continue
      stop.abort()
      this.#entries.delete(key)
    }
    for (const key of this.#former.keys()) if (key.startsWith(prefix)) this.#former.delete(key)
  }

  /** Ends a read, and returns what it has found so far; undefined if it does not run. */
  async stop(key: string): Promise<T | undefined> {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    clearTimeout(entry.abandon)
    entry.stop.abort()
    await endedOrLate(entry.ended, STOP_MS)
    return entry.value
  }

  #current(key: string, freshMs: number): Entry<T> | undefined {
    const entry = this.#entries.get(key)
    if (entry?.readAt === undefined) return entry
    const end = entry.readAt.getTime()
    return Date.now() - end < Math.max(freshMs, REST * (end - entry.startedAt)) ? entry : undefined
  }

  #start(key: string, read: Read<T>): Entry<T> {
    this.#keepFormer(key)
    const stop = new AbortController()
    const signal = AbortSignal.any([stop.signal, this.#closed])
    const entry: Entry<T> = {
      stop,
      startedAt: Date.now(),
      ended: Promise.resolve().then(() => this.#run(entry, read, signal)),
      value: undefined,
      readAt: undefined,
      error: undefined,
      abandon: undefined,
    }
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    const [oldest] = this.#entries
    if (this.#entries.size > MAX_READS && oldest !== undefined) this.forget(oldest[0])
    return entry
  }

  #keepFormer(key: string): void {
    const { value, readAt } = this.#entries.get(key) ?? {}
    if (readAt === undefined) return
    this.#former.delete(key)
    this.#former.set(key, { value, isComplete: true, readAt })
    const [oldest] = this.#former.keys()
    if (this.#former.size > MAX_READS && oldest !== undefined) this.#former.delete(oldest)
  }

  /** Never rejects. */
  async #run(entry: Entry<T>, read: Read<T>, signal: AbortSignal): Promise<void> {
    try {
      entry.value = await read({
        signal,
        report: (part) => {
          entry.value = part
        },
      })
      if (!signal.aborted) entry.readAt = new Date()
    } catch (thrown) {
      entry.error = toError(thrown)
    } finally {
      clearTimeout(entry.abandon)
    }
  }

  #postponeAbandoning(entry: Entry<T>): void {
    clearTimeout(entry.abandon)
    if (entry.readAt !== undefined) return
    entry.abandon = setTimeout(() => {
      entry.stop.abort()
      for (const [key, one] of this.#entries) if (one === entry) this.#entries.delete(key)
    }, ABANDONED_MS)
    entry.abandon.unref()
  }
}

async function endedOrLate(ended: Promise<void>, waitMs: number): Promise<void> {
  const late = Promise.withResolvers<void>()
  const timer = setTimeout(late.resolve, waitMs)
  await Promise.race([ended, late.promise])
  clearTimeout(timer)
}
