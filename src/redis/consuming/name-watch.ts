import { randomUUID } from 'node:crypto'
import { sleep } from '../../kit/time.ts'
import type { RedisLink } from '../client/link.ts'
import { runScript } from '../client/scripts.ts'

/** Longest time for which the name of a dead process counts as in use, in milliseconds. */
const MAX_HOLD_MS = 6000
/** Renewals per hold. */
const BEATS = 3

export interface RedisNameWatchParts {
  readonly link: RedisLink
  /** The key that contains the process that uses the name. */
  readonly key: string
  readonly leaseMs: number
  /** Called once if another live process uses the name. */
  readonly onTaken: () => void
}

/**
 * Detects a second live process with the same consumer name, because the two processes would take over each other's
 * entries. The first process holds a key, which expires if the process dies. If a process finds the key held for longer
 * than that, another live process has the same name.
 */
export class RedisNameWatch {
  readonly #parts: RedisNameWatchParts
  readonly #stopped = new AbortController()
  readonly #token = randomUUID()
  /** When the key was first found held by another process. */
  #takenSince: number | undefined
  #isReported = false

  constructor(parts: RedisNameWatchParts) {
    this.#parts = parts
  }

  start(): void {
    void this.#run()
  }

  /** Lets another process have the name at once. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    const { link, key } = this.#parts
    try {
      await runScript(link.requireClient(), 'RELEASE_NAME', [key], [this.#token])
    } catch {
      // The key expires.
    }
  }

  async #run(): Promise<void> {
    const holdMs = Math.min(this.#parts.leaseMs, MAX_HOLD_MS)
    do await this.#hold(holdMs)
    while (await sleep(Math.ceil(holdMs / BEATS), this.#stopped.signal))
  }

  async #hold(holdMs: number): Promise<void> {
    const { link, key, onTaken } = this.#parts
    const { client } = link
    if (client === undefined) return
    try {
      const args = [this.#token, String(holdMs)]
      if ((await runScript(client, 'HOLD_NAME', [key], args)) === 0) this.#found(holdMs, onTaken)
      else this.#takenSince = undefined
    } catch {
      // The watch is not essential. The read loop reports what is wrong with the connection.
    }
  }

  #found(holdMs: number, onTaken: () => void): void {
    const now = performance.now()
    this.#takenSince ??= now
    if (this.#isReported || now - this.#takenSince < holdMs) return
    this.#isReported = true
    onTaken()
  }
}
