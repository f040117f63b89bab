import { sleep } from '../../kit/time.ts'
import type { RedisClient } from '../client/client.ts'
import type { ConsumedStream } from '../client/consumed-stream.ts'
import type { RedisLink } from '../client/link.ts'
import { FENCED_OFF, runFenced } from '../client/scripts.ts'
import type { HeldEntry } from './held-entry.ts'

/** Most ids that one script renews: the script blocks the server while it runs. */
const BATCH = 500

/** Idle time of a released entry, in milliseconds. Longer than any lease, so that the next sweep claims the entry. */
const RELEASED_IDLE_MS = 30 * 86_400_000

export interface RedisLeasesParts {
  readonly link: RedisLink
  readonly group: string
  readonly consumer: string
  readonly leaseMs: number
  /** The key with the leases of partitions. */
  readonly leasesKey: string
}

/** Renews the leases of the held entries three times per lease, so that no other consumer takes them over. */
export class RedisLeases {
  readonly #parts: RedisLeasesParts
  readonly #stopped = new AbortController()

  constructor(parts: RedisLeasesParts) {
    this.#parts = parts
  }

  start(held: Iterable<HeldEntry>): void {
    void this.#renewPeriodically(held)
  }

  stop(): void {
    this.#stopped.abort()
  }

  async #renewPeriodically(held: Iterable<HeldEntry>): Promise<void> {
    const intervalMs = Math.max(1, this.#parts.leaseMs / 3)
    while (await sleep(intervalMs, this.#stopped.signal)) {
      const due = [...held].filter(
        ({ lease, isSettled, isLost }) => lease === undefined && !isSettled && !isLost,
      )
      for (const [stream, entries] of Map.groupBy(due, (entry) => entry.stream)) {
        for (let start = 0; start < entries.length; start += BATCH) {
          await this.#renew(stream, entries.slice(start, start + BATCH))
        }
      }
    }
  }

  async #renew(stream: ConsumedStream, entries: readonly HeldEntry[]): Promise<void> {
    const { link, group, consumer, leasesKey } = this.#parts
    const { client } = link
    if (client === undefined) return
    try {
      await renewLeases(client, { stream, group, consumer, entries, leasesKey })
    } catch {
      // Without a reply the leases expire, and no attempt starts under them. The read loop reports the cause.
    }
  }
}

/** Entries of one stream, owned under the same lease of its partition, whose leases are renewed or released. */
export interface LeaseRequest {
  readonly stream: ConsumedStream
  readonly group: string
  readonly consumer: string
  readonly entries: readonly HeldEntry[]
  readonly leasesKey: string
}

/** Renews the leases of the entries that this consumer still owns, and marks the others as lost. */
export async function renewLeases(
  client: RedisClient,
  { stream, group, consumer, entries, leasesKey }: LeaseRequest,
): Promise<void> {
  const at = performance.now()
  const ids = entries.map(({ entryId }) => entryId)
  const fence = { leases: leasesKey, partition: stream.partition, lease: entries[0]?.lease }
  const reply = await runFenced(client, 'RENEW', fence, [stream.key], [group, consumer, ...ids])
  const lost = new Set(Array.isArray(reply) ? reply.map(String) : [])
  for (const entry of entries) {
    if (reply === FENCED_OFF || lost.has(entry.entryId)) entry.isLost = true
    else entry.leasedAt = at
  }
}

/** Ends the leases, so that another consumer can claim the entries at once. */
export async function releaseLeases(
  client: RedisClient,
  { stream, group, consumer, entries, leasesKey }: LeaseRequest,
): Promise<void> {
  // An attempt that the stop interrupts does not count. An attempt that has failed does.
  const states = entries.flatMap(({ entryId, attemptsStarted, isAttempting }) => [
    entryId,
    String(isAttempting ? attemptsStarted - 1 : attemptsStarted),
  ])
  const fence = { leases: leasesKey, partition: stream.partition, lease: entries[0]?.lease }
  const args = [group, consumer, String(RELEASED_IDLE_MS), ...states]
  await runFenced(client, 'RELEASE', fence, [stream.key], args)
}
