import type { GroupLoad } from '../../transport/admin.ts'
import type { RedisClient } from '../client/client.ts'
import type { GroupState, StreamWithGroups } from '../client/stream-state.ts'
import { readEntries } from '../wire/entry.ts'

const NO_LOAD: GroupLoad = { lag: 0, inFlight: 0, oldestUnsettledAt: undefined }
/** Entries that one reply has if the server does not know the lag. */
const PAGE = 1000
/** Maximum number of pages that are read to count the lag. */
const MAX_PAGES = 20

/** What a group has left to do in one stream. */
export async function loadOf(
  client: RedisClient,
  key: string,
  state: StreamWithGroups | undefined,
  name: string,
): Promise<GroupLoad> {
  const group = state?.groups.find((candidate) => candidate.name === name)
  if (group === undefined) return NO_LOAD
  const lag = group.lag ?? (await countUnread(client, key, group))
  return { lag, inFlight: group.pending, oldestUnsettledAt: await oldestAt(client, key, group, lag) }
}

/** Redis before 7.0 does not report the lag, and no release does after entries were deleted by hand. */
async function countUnread(
  client: RedisClient,
  key: string,
  { lastDeliveredId }: GroupState,
): Promise<number | undefined> {
  let count = 0
  let start = `(${lastDeliveredId}`
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const entries = readEntries(await client.sendCommand(['XRANGE', key, start, '+', 'COUNT', String(PAGE)]))
    count += entries.length
    const last = entries.at(-1)
    if (last === undefined || entries.length < PAGE) return count
    start = `(${last.id}`
  }
  return undefined
}

/** The time of an entry is in its id. */
async function oldestAt(
  client: RedisClient,
  key: string,
  { name, pending, lastDeliveredId }: GroupState,
  lag: number | undefined,
): Promise<Date | undefined> {
  if (pending > 0) {
    const summary = await client.sendCommand(['XPENDING', key, name])
    const [, first]: unknown[] = Array.isArray(summary) ? summary : []
    if (typeof first === 'string') return timeOf(first)
  }
  if (lag === 0) return undefined
  const next = await client.sendCommand(['XRANGE', key, `(${lastDeliveredId}`, '+', 'COUNT', '1'])
  const [entry] = readEntries(next)
  return entry === undefined ? undefined : timeOf(entry.id)
}

function timeOf(id: string): Date {
  return new Date(Number(id.split('-')[0]))
}
