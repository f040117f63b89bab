import { REQUEST_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import type { StreamRole } from '../client/stream-role.ts'
import type { HeldEntry } from './held-entry.ts'
import { renewLeases } from './leases.ts'

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
    const { stopped } = this.#parts
    this.#isAsking = true
    while (this.#returned.size > 0 && !stopped.aborted) {
      const done = await retryUntilDone(() => this.#askWhenConnected(), {
        backoff: REQUEST_BACKOFF,
        signal: stopped,
        // Without an answer nothing is known. The read loop reports the cause.
        onFailure: () => undefined,
      })
      if (done?.value !== true) break
    }
    this.#isAsking = false
  }

  /** @returns false if the consumption was stopped first. */
  async #askWhenConnected(): Promise<boolean> {
    const { link, stopped } = this.#parts
    const client = await link.whenReady(stopped)
    if (client === undefined) return false
    await this.#ask(client)
    return true
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
