import { toError } from '../errors.ts'
import type { Logger } from '../observability/logger.ts'

export interface SqliteWatchParts {
  /** Opens the file if it is not open. Never throws. */
  readonly open: () => void
  /** A number that changes with each commit of another connection. @throws if the file cannot be read. */
  readonly version: () => number
  /** A text that changes if a lease is released. */
  readonly releases: () => string
  readonly intervalMs: number
  readonly logger: Logger
}

/** Calls listeners when this process or another one has committed. */
export class SqliteWatch {
  readonly #parts: SqliteWatchParts
  readonly #appends = new Set<() => void>()
  readonly #releases = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined
  #version = 0
  #released = ''
  #isClosed = false
  #isFailing = false

  constructor(parts: SqliteWatchParts) {
    this.#parts = parts
  }

  onAppend(listener: () => void): () => void {
    return this.#add(this.#appends, listener)
  }

  onRelease(listener: () => void): () => void {
    return this.#add(this.#releases, listener)
  }

  /** Called after a commit of this process. */
  committed(what: { readonly events: boolean; readonly leases: boolean }): void {
    if (what.events) this.#call(this.#appends)
    if (what.leases) this.#call(this.#releases)
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #add(listeners: Set<() => void>, listener: () => void): () => void {
    // A new function per call, so that the same listener can be added twice.
    const entry = () => listener()
    listeners.add(entry)
    this.#start()
    return () => {
      listeners.delete(entry)
      if (this.#appends.size + this.#releases.size > 0) return
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  /** Checks the file while there are listeners. The timer does not keep the process alive. */
  #start(): void {
    if (this.#timer !== undefined || this.#isClosed) return
    this.#parts.open()
    this.#version = this.#present()
    this.#timer = setInterval(() => this.#look(), this.#parts.intervalMs)
    this.#timer.unref()
  }

  /** The version from which on commits are noticed: without it, the first look would take the file for changed. */
  #present(): number {
    try {
      return this.#parts.version()
    } catch {
      return 0 // the first look reports it
    }
  }

  #look(): void {
    try {
      const version = this.#parts.version()
      this.#isFailing = false
      if (version === this.#version) return
      this.#version = version
      this.#call(this.#appends)
      if (this.#releases.size > 0) this.#lookAtReleases()
    } catch (thrown) {
      if (this.#isFailing) return
      this.#isFailing = true
      // The listeners read the file next, and report the failure.
      this.#call(this.#appends)
      this.#parts.logger.warn('checking for commits of other processes failed', { error: toError(thrown) })
    }
  }

  #lookAtReleases(): void {
    const released = this.#parts.releases()
    if (released === this.#released) return
    this.#released = released
    this.#call(this.#releases)
  }

  #call(listeners: ReadonlySet<() => void>): void {
    for (const listener of listeners) {
      try {
        listener()
      } catch (thrown) {
        this.#parts.logger.error('a listener of a store failed', { error: toError(thrown) })
      }
    }
  }
}
