import type { RedisClient } from './client.ts'

/** Entries that one script counts. The server does nothing else meanwhile. */
const PAGE = 1000

/** KEYS: stream; ARGV: first id, last id, limit. Returns the number of entries in the range, and the id of the last one. */
const COUNT = `
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
return {#entries, #entries > 0 and entries[#entries][1] or ''}`

/** Counts the entries of a stream up to an id, but no more than `limit`. The server does not send the entries. */
export function countUpTo(client: RedisClient, key: string, id: string, limit: number): Promise<number> {
  return countBetween(client, key, { first: '-', last: id }, limit)
}

/** Counts the entries of a stream behind an id. The server does not send the entries. */
export function countAfter(client: RedisClient, key: string, id: string): Promise<number> {
  return countBetween(client, key, { first: `(${id}`, last: '+' }, Number.POSITIVE_INFINITY)
}

async function countBetween(
  client: RedisClient,
  key: string,
  { first, last: end }: { readonly first: string; readonly last: string },
  limit: number,
): Promise<number> {
  let count = 0
  for (let from = first; count < limit; ) {
    const wanted = Math.min(PAGE, limit - count)
    const reply = await client.sendCommand(['EVAL', COUNT, '1', key, from, end, String(wanted)])
    const [size, last]: unknown[] = Array.isArray(reply) ? reply : []
    count += Number(size)
    if (Number(size) < wanted) break
    from = `(${String(last)}`
  }
  return count
}
