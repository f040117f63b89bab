import { checkPlace } from '../../kit/places.ts'
import type { RedisClient } from '../client/client.ts'
import { countAfter } from '../client/count-entries.ts'
import { readStreamState } from '../client/stream-state.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { MAX_NUMBER, readPosition } from '../wire/entry-id.ts'

/** Pending entries whose attempts are forgotten at once. */
const PAGE = 500

/** The id after which a group reads each stream. */
export type StreamPlaces = ReadonlyMap<string, string>

/** @throws ConfigError for a text that is no position. */
export async function placesOf(
  client: RedisClient,
  { keys }: ResolvedRedisOptions,
  to: Date | string,
): Promise<StreamPlaces> {
  checkPlace('admin.seek: to', to, (text) => readPosition(text) !== undefined)
  const places = await Promise.all(
    keys.streams.map(async (key, partition) => [key, await placeIn(client, key, partition, to)] as const),
  )
  return new Map(places)
}

async function placeIn(
  client: RedisClient,
  key: string,
  partition: number,
  to: Date | string,
): Promise<string> {
  if (to === 'first') return '0-0'
  if (to === 'last') return (await readStreamState(client, key))?.stream.lastGeneratedId ?? '0-0'
  if (to instanceof Date) return before(BigInt(Math.max(0, to.getTime())), 0n)
  const { id, partition: own } = readPosition(to) ?? { id: '0-0', partition: 0 }
  const [time = '', sequence = ''] = id.split('-')
  // Entries with the same id are in the order of their partitions.
  return partition <= own ? id : before(BigInt(time), BigInt(sequence))
}

/** The id before another one. */
function before(time: bigint, sequence: bigint): string {
  if (sequence > 0n) return `${time}-${sequence - 1n}`
  return time > 0n ? `${time - 1n}-${MAX_NUMBER}` : '0-0'
}

/** The number of entries behind the places. */
export async function entriesAfter(client: RedisClient, places: StreamPlaces): Promise<number> {
  const counts = await Promise.all(
    [...places].map(async ([key, id]) =>
      id === '0-0' ? Number(await client.sendCommand(['XLEN', key])) : countAfter(client, key, id),
    ),
  )
  return counts.reduce((sum, count) => sum + count, 0)
}

/** Forgets the attempts of the entries that the group has not settled: they come again as new ones, or not at all. */
export async function forgetAttempts(
  client: RedisClient,
  { keys }: ResolvedRedisOptions,
  group: string,
): Promise<void> {
  for (const stream of keys.streams) {
    for (let from = '-'; ; ) {
      const reply = await client.sendCommand(['XPENDING', stream, group, from, '+', String(PAGE)])
      const ids = Array.isArray(reply)
        ? reply.map((row: unknown) => String(Array.isArray(row) ? row[0] : ''))
        : []
      if (ids.length > 0) await client.sendCommand(['UNLINK', ...ids.map((id) => keys.retry(group, id))])
      if (ids.length < PAGE) break
      from = `(${ids.at(-1)}`
    }
  }
}
