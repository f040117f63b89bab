import { sleep } from '../../kit/time.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { runScript } from '../client/scripts.ts'
import type { StreamRole } from '../client/stream-role.ts'
import type { HeldEntry } from './held-entry.ts'

/** Ids renewed by one script at most: it blocks the server while it runs. */
const BATCH = 500

export interface RedisLeasesParts {
  readonly link: RedisLink
  readonly group: string
  readonly consumer: string
  readonly leaseMs: number
}

/**
 * Renews the leases of what this consumer holds, three times per lease, so that nobody takes it for dead while its
 * process lives. Whoever was taken for dead learns it here.
 */
export class RedisLeases {
  readonly #parts: RedisLeasesParts
  readonly #stopped = new AbortController()

  constructor(parts: RedisLeasesParts) {
    this.#parts = parts
  }

  start(held: () => Iterable<HeldEntry>): void {
    void this.#renewAgainAndAgain(held)
  }

  stop(): void {
    this.#stopped.abort()
  }

  async #renewAgainAndAgain(held: () => Iterable<HeldEntry>): Promise<void> {
    const everyMs = Math.max(1, this.#parts.leaseMs / 3)
    while (await sleep(everyMs, this.#stopped.signal)) {
      const due = [...held()].filter((entry) => !entry.isSettled && !entry.isLost)
      for (const [role, entries] of Map.groupBy(due, (entry) => entry.role)) {
        for (let start = 0; start < entries.length; start += BATCH) {
          await this.#renew(role, entries.slice(start, start + BATCH))
        }
      }
    }
  }

  async #renew(role: StreamRole, entries: readonly HeldEntry[]): Promise<void> {
    const { link, group, consumer } = this.#parts
    const { client } = link
    if (client === undefined) return
    try {
      await renewLeases(client, { role, group, consumer, entries })
    } catch {
      // Without an answer the leases run out, and nothing that they covered is begun; the read loop tells why.
    }
  }
}

export interface RenewRequest {
  readonly role: StreamRole
  readonly group: string
  readonly consumer: string
  readonly entries: readonly HeldEntry[]
}

/** Renews the leases of the entries that are still this consumer's, and marks the others as lost. */
export async function renewLeases(
  client: RedisClient,
  { role, group, consumer, entries }: RenewRequest,
): Promise<void> {
  const at = performance.now()
  const ids = entries.map(({ message }) => message.id)
  const reply = await runScript(client, 'RENEW', [role.key], [group, consumer, ...ids])
  const lost = new Set(Array.isArray(reply) ? reply.map(String) : [])
  for (const entry of entries) {
    if (lost.has(entry.message.id)) entry.isLost = true
    else entry.leasedAt = at
  }
}
