import { RetryPolicy } from '../../kit/retry-policy.ts'
import { sleep } from '../../kit/time.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import type { StreamRole } from '../client/stream-role.ts'
import type { HeldEntry } from './held-entry.ts'
import { renewLeases } from './leases.ts'

const AGAIN = new RetryPolicy({
  maxRetries: Number.POSITIVE_INFINITY,
  retryBaseDelayMs: 50,
  retryMaxDelayMs: 1000,
  retryJitter: 0.2,
})

export interface RedisReturnsParts {
  readonly link: RedisLink
  readonly group: string
  readonly consumer: string
  readonly stopped: AbortSignal
  /** Hands an entry over once more. */
  readonly again: (entry: HeldEntry) => void
  readonly lost: (entry: HeldEntry) => void
}

/**
 * Entries that were not begun, or not begun again, because their lease had run out while the server or this process
 * stood still. They may be somebody else's by now, which only the server knows: it is asked, and those that are still
 * ours come again. Until then nothing of their aggregates begins, as it would overtake them.
 */
export class RedisReturns {
  readonly #parts: RedisReturnsParts
  readonly #returned = new Map<string, HeldEntry[]>()
  #isAsking = false

  constructor(parts: RedisReturnsParts) {
    this.#parts = parts
  }

  /** True while an earlier entry of the same aggregate is asked about. */
  blocks(entry: HeldEntry): boolean {
    return this.#returned.size > 0 && this.#returned.has(laneOf(entry))
  }

  add(entry: HeldEntry): void {
    const lane = laneOf(entry)
    const before = this.#returned.get(lane)
    if (before === undefined) this.#returned.set(lane, [entry])
    else before.push(entry)
    if (!this.#isAsking) void this.#askUntilNoneIsLeft()
  }

  async #askUntilNoneIsLeft(): Promise<void> {
    const { link, stopped } = this.#parts
    this.#isAsking = true
    for (let failures = 0; this.#returned.size > 0 && !stopped.aborted; ) {
      const client = await link.whenReady(stopped)
      if (client === undefined) break
      try {
        await this.#ask(client)
        failures = 0
      } catch {
        // Without an answer nothing is known. Why there is none, the read loop tells.
        failures += 1
        await sleep(AGAIN.backoff(failures), stopped)
      }
    }
    this.#isAsking = false
  }

  async #ask(client: RedisClient): Promise<void> {
    const asked = [...this.#returned.values()].flat()
    for (const [role, entries] of Map.groupBy(asked, (entry) => entry.role))
      await this.#renew(client, role, entries)
    const known = new Set(asked)
    for (const [lane, entries] of [...this.#returned]) {
      // What was added meanwhile is asked about in the next round, unless its own lease is good.
      if (entries.some((entry) => entry.isLost && !known.has(entry))) continue
      this.#returned.delete(lane)
      for (const entry of entries) {
        if (entry.isLost) this.#parts.lost(entry)
        else this.#parts.again(entry)
      }
    }
  }

  async #renew(client: RedisClient, role: StreamRole, entries: readonly HeldEntry[]): Promise<void> {
    const { group, consumer } = this.#parts
    for (const entry of entries) entry.isLost = false
    try {
      await renewLeases(client, { role, group, consumer, entries })
    } catch (error) {
      for (const entry of entries) entry.isLost = true
      throw error
    }
  }
}

/** As the pipeline has them: an entry without a key is in no order. */
function laneOf({ message, role }: HeldEntry): string {
  return message.key ?? `\0${role.key} ${message.id}`
}
