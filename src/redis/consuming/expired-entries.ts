import { REQUEST_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { groupByOwnership, type HeldEntry } from './held-entry.ts'
import { renewLeases } from './leases.ts'

export interface RedisExpiredEntriesParts {
  readonly link: RedisLink
  readonly group: string
  readonly consumer: string
  readonly leasesKey: string
  readonly stopped: AbortSignal
  /** Makes sure that this consumer is a member of the group. */
  readonly confirm: () => Promise<void>
  readonly redeliver: (entry: HeldEntry) => void
  readonly onLost: (entry: HeldEntry) => void
}

/**
 * Entries whose attempt did not start because their lease had expired while the server or this process was suspended.
 * Another consumer may own them by now. The consumer asks the server, and entries that this consumer still owns are
 * redelivered. Until the reply, later entries of the same aggregates are blocked, because they would overtake these
 * entries.
 */
export class RedisExpiredEntries {
  readonly #parts: RedisExpiredEntriesParts
  readonly #byLane = new Map<string, HeldEntry[]>()
  #isChecking = false

  constructor(parts: RedisExpiredEntriesParts) {
    this.#parts = parts
  }

  /** True while the ownership of an earlier entry of the same aggregate is unknown. */
  blocks(entry: HeldEntry): boolean {
    return this.#byLane.size > 0 && this.#byLane.has(laneOf(entry))
  }

  add(entry: HeldEntry): void {
    const lane = laneOf(entry)
    const earlier = this.#byLane.get(lane)
    if (earlier === undefined) this.#byLane.set(lane, [entry])
    else earlier.push(entry)
    if (!this.#isChecking) void this.#checkUntilEmpty()
  }

  async #checkUntilEmpty(): Promise<void> {
    const { stopped } = this.#parts
    this.#isChecking = true
    while (this.#byLane.size > 0 && !stopped.aborted) {
      const done = await retryUntilDone(() => this.#checkWhenConnected(), {
        backoff: REQUEST_BACKOFF,
        signal: stopped,
        // The ownership stays unknown. The read loop reports the cause.
        onFailure: () => undefined,
      })
      if (done?.value !== true) break
    }
    this.#isChecking = false
  }

  /** @returns false if the consumption was stopped first. */
  async #checkWhenConnected(): Promise<boolean> {
    const { link, stopped } = this.#parts
    const client = await link.whenReady(stopped)
    if (client === undefined) return false
    await this.#check(client)
    return true
  }

  async #check(client: RedisClient): Promise<void> {
    await this.#parts.confirm()
    const checked = [...this.#byLane.values()].flat()
    for (const entries of groupByOwnership(checked)) await this.#renew(client, entries)
    const known = new Set(checked)
    for (const [lane, entries] of [...this.#byLane]) {
      // An entry that was added meanwhile and whose own lease has expired is checked in the next round.
      if (entries.some((entry) => entry.isLost && !known.has(entry))) continue
      this.#byLane.delete(lane)
      for (const entry of entries) {
        if (entry.isLost) this.#parts.onLost(entry)
        else this.#parts.redeliver(entry)
      }
    }
  }

  async #renew(client: RedisClient, entries: readonly HeldEntry[]): Promise<void> {
    const { group, consumer, leasesKey } = this.#parts
    const [first] = entries
    if (first === undefined) return
    const { stream } = first
    for (const entry of entries) entry.isLost = false
    try {
      await renewLeases(client, { stream, group, consumer, entries, leasesKey })
    } catch (error) {
      for (const entry of entries) entry.isLost = true
      throw error
    }
  }
}

/** The lane of the pipeline that handles the entry. An entry without a key has a lane of its own. */
function laneOf({ message, stream }: HeldEntry): string {
  return message.key ?? `\0${stream.key} ${message.id}`
}
