import { sleep } from '../../kit/time.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readPairs } from '../wire/replies.ts'

/** Trims the stream to its limits. Unless `trim` is `'unsafe'`, it keeps what any group has not acknowledged. */
export class RedisTrimmer {
  readonly #options: ResolvedRedisOptions
  readonly #link: RedisLink
  readonly #onError: (error: unknown) => void
  readonly #stopped = new AbortController()

  constructor(options: ResolvedRedisOptions, link: RedisLink, onError: (error: unknown) => void) {
    this.#options = options
    this.#link = link
    this.#onError = onError
  }

  start(): void {
    const { maxLength, maxAgeMs } = this.#options
    if (maxLength !== undefined || maxAgeMs !== undefined) void this.#trimPeriodically()
  }

  stop(): void {
    this.#stopped.abort()
  }

  async #trimPeriodically(): Promise<void> {
    while (await sleep(this.#options.trimIntervalMs, this.#stopped.signal)) {
      try {
        const { client } = this.#link
        if (client !== undefined) await this.#trim(client)
      } catch (error) {
        this.#onError(error)
      }
    }
  }

  async #trim(client: RedisClient): Promise<void> {
    const { keys, maxLength, maxAgeMs, trim } = this.#options
    const safe = trim === 'unsafe' ? undefined : await this.#oldestNeeded(client)
    if (maxAgeMs !== undefined) {
      const wanted = `${Date.now() - maxAgeMs}-0`
      const limit = safe !== undefined && isBefore(safe, wanted) ? safe : wanted
      await client.sendCommand(['XTRIM', keys.stream, 'MINID', '~', limit])
    }
    if (maxLength === undefined) return
    const excess = Number(await client.sendCommand(['XLEN', keys.stream])) - maxLength
    if (excess <= 0) return
    if (safe === undefined) await client.sendCommand(['XTRIM', keys.stream, 'MAXLEN', '~', String(maxLength)])
    // LIMIT stops at the wanted length, MINID at the oldest entry that a group still needs.
    else await client.sendCommand(['XTRIM', keys.stream, 'MINID', '~', safe, 'LIMIT', String(excess)])
  }

  /** The oldest id that a group has not acknowledged; undefined if there is no group. */
  async #oldestNeeded(client: RedisClient): Promise<string | undefined> {
    const { stream } = this.#options.keys
    if ((await client.sendCommand(['EXISTS', stream])) === 0) return undefined
    const groups = await client.sendCommand(['XINFO', 'GROUPS', stream])
    let oldest: string | undefined
    for (const row of Array.isArray(groups) ? groups : []) {
      const group = readPairs(row)
      const id = await this.#oldestOf(
        client,
        String(group.get('name')),
        String(group.get('last-delivered-id')),
      )
      if (oldest === undefined || isBefore(id, oldest)) oldest = id
    }
    return oldest
  }

  async #oldestOf(client: RedisClient, group: string, lastDelivered: string): Promise<string> {
    const summary = await client.sendCommand(['XPENDING', this.#options.keys.stream, group])
    const [count, first]: unknown[] = Array.isArray(summary) ? summary : []
    // If nothing is pending, every delivered entry is acknowledged.
    return Number(count) > 0 ? String(first) : nextId(lastDelivered)
  }
}

function nextId(id: string): string {
  const [time = '0', sequence = '0'] = id.split('-')
  return `${time}-${BigInt(sequence) + 1n}`
}

function isBefore(a: string, b: string): boolean {
  const [aTime = 0n, aSequence = 0n] = a.split('-').map(BigInt)
  const [bTime = 0n, bSequence = 0n] = b.split('-').map(BigInt)
  return aTime === bTime ? aSequence < bSequence : aTime < bTime
}
