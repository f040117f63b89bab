import type { LogFields, Logger } from './logger.ts'

/** Lines of the same sentence that pass within a window. */
const BURST = 10
const WINDOW_MS = 10_000

/** Time, as the summaries need it. */
export interface LogClock {
  /** Milliseconds that only grow. */
  now(): number
  /** Calls back once after so long, without keeping the process alive. @returns what calls it off. */
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

/** One sentence within its window. */
interface Window {
  readonly since: number
  readonly callOff: () => void
  passed: number
  held: number
}

/**
 * Keeps a failure that repeats from flooding the log: of the same sentence the first ten lines in ten seconds pass, the
 * rest is counted and told in one line when the ten seconds are over. Sentences are fixed, so there are few of them.
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
    this.#target.debug(message, fields)
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

  /** Tells what was held back so far. */
  flush(): void {
    for (const key of [...this.#windows.keys()]) this.#close(key)
  }

  #log(level: Level, message: string, fields: LogFields | undefined): void {
    const key = `${level} ${message}`
    const window = this.#windows.get(key) ?? this.#open(key)
    if (window.passed >= BURST) {
      window.held += 1
      return
    }
    window.passed += 1
    this.#target[level](message, fields)
  }

  #open(key: string): Window {
    const callOff = this.#clock.after(WINDOW_MS, () => this.#close(key))
    const window = { since: this.#clock.now(), callOff, passed: 0, held: 0 }
    this.#windows.set(key, window)
    return window
  }

  #close(key: string): void {
    const window = this.#windows.get(key)
    if (window === undefined) return
    this.#windows.delete(key)
    window.callOff()
    if (window.held === 0) return
    const space = key.indexOf(' ')
    // The key was made of a level and a sentence.
    const level = key.slice(0, space) as Level
    const seconds = Math.max(1, Math.round((this.#clock.now() - window.since) / 1000))
    const suffix = `${window.held} more like it in the last ${seconds} s`
    this.#target[level](`${key.slice(space + 1)} ... ${suffix}`, { count: window.held, seconds })
  }
}
