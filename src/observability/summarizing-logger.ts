import type { LogFields, Logger } from './logger.ts'
import { safeFields } from './readable.ts'

/** Maximum number of lines with the same message that are logged within a window. */
const BURST = 10
/** Length of a window, in milliseconds. */
const WINDOW_MS = 10_000

/** The clock of the summaries. */
export interface LogClock {
  /** A monotonic time, in milliseconds. */
  now(): number
  /** Calls `callback` once after `ms`, without keeping the process alive. @returns a function that cancels it. */
  after(ms: number, callback: () => void): () => void
}

const systemClock: LogClock = {
  now: () => performance.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms).unref()
    return () => clearTimeout(timer)
  },
}

type Level = 'info' | 'warn' | 'error'

/** The window of one message. */
interface Window {
  readonly since: number
  readonly cancel: () => void
  logged: number
  suppressed: number
}

/**
 * Prevents repeated failures from flooding the log, and shortens texts from messages and servers. Within `WINDOW_MS`,
 * the first `BURST` lines with the same message are logged; the others are counted, and one line at the end of the
 * window has their number. There are few distinct messages, because messages are fixed texts.
 */
export class SummarizingLogger implements Logger {
  readonly #target: Logger
  readonly #clock: LogClock
  readonly #windows = new Map<string, Window>()

  constructor(target: Logger, clock: LogClock = systemClock) {
    this.#target = target
    this.#clock = clock
  }

  debug(message: string, fields?: LogFields): void {
    this.#target.debug(message, safeFields(fields))
  }

  info(message: string, fields?: LogFields): void {
    this.#log('info', message, fields)
  }

  warn(message: string, fields?: LogFields): void {
    this.#log('warn', message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.#log('error', message, fields)
  }

  /** Logs the numbers of suppressed lines now. */
  flush(): void {
    for (const key of [...this.#windows.keys()]) this.#close(key)
  }

  #log(level: Level, message: string, fields: LogFields | undefined): void {
    const key = `${level} ${message}`
    const window = this.#windows.get(key) ?? this.#open(key)
    if (window.logged >= BURST) {
      window.suppressed += 1
      return
    }
    window.logged += 1
    this.#target[level](message, safeFields(fields))
  }

  #open(key: string): Window {
    const cancel = this.#clock.after(WINDOW_MS, () => this.#close(key))
    const window = { since: this.#clock.now(), cancel, logged: 0, suppressed: 0 }
    this.#windows.set(key, window)
    return window
  }

  #close(key: string): void {
    const window = this.#windows.get(key)
    if (window === undefined) return
    this.#windows.delete(key)
    window.cancel()
    if (window.suppressed === 0) return
    const space = key.indexOf(' ')
    // The key consists of a level and a message.
    const level = key.slice(0, space) as Level
    const seconds = Math.max(1, Math.round((this.#clock.now() - window.since) / 1000))
    const suffix = `${window.suppressed} more like it in the last ${seconds} s`
    this.#target[level](`${key.slice(space + 1)} ... ${suffix}`, { count: window.suppressed, seconds })
  }
}
