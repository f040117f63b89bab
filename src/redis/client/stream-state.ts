import { isNoGroup } from '../errors.ts'
import { readPairs } from '../wire/replies.ts'
import type { RedisClient } from './client.ts'

/** The stream as XINFO STREAM describes it. */
export interface StreamState {
  readonly length: number
  readonly firstEntryId: string | null
  readonly lastEntryId: string | null
  /** The last id that was ever added. */
  readonly lastGeneratedId: string
  /** Entries ever added; null before Redis 7.0. */
  readonly entriesAdded: number | null
}

/** A group as XINFO GROUPS describes it. */
export interface GroupState {
  readonly name: string
  readonly consumers: number
  readonly pending: number
  readonly lastDeliveredId: string
  /** Entries ever delivered to the group; null if Redis does not know it, or is older than 7.0. */
  readonly entriesRead: number | null
  /** Entries that wait for the group; null if Redis does not know it, or is older than 7.0. */
  readonly lag: number | null
}

export interface StreamWithGroups {
  readonly stream: StreamState
  readonly groups: readonly GroupState[]
}

/** Reads a stream and its groups. @returns undefined if there is no such stream. */
export async function readStreamState(
  client: RedisClient,
  key: string,
): Promise<StreamWithGroups | undefined> {
  try {
    const [stream, groups] = await Promise.all([
      client.sendCommand(['XINFO', 'STREAM', key]),
      client.sendCommand(['XINFO', 'GROUPS', key]),
    ])
    const state = streamOf(stream)
    return { stream: state, groups: Array.isArray(groups) ? groups.map((row) => groupOf(row, state)) : [] }
  } catch (error) {
    if (isNoGroup(error)) return undefined
    throw error
  }
}

/**
 * Entries that were removed from the stream before the group read them. Redis forgets this number with the next entry that
 * the group reads.
 */
export function unreadRemoved(stream: StreamState, group: GroupState): number {
  const { entriesAdded, length, firstEntryId } = stream
  if (entriesAdded === null || group.entriesRead === null) return 0
  const isBehind = firstEntryId === null || isBefore(group.lastDeliveredId, firstEntryId)
  return isBehind ? Math.max(0, entriesAdded - group.entriesRead - length) : 0
}

/** Compares two entry ids. */
export function isBefore(a: string, b: string): boolean {
  const [aTime = 0n, aSequence = 0n] = a.split('-').map(BigInt)
  const [bTime = 0n, bSequence = 0n] = b.split('-').map(BigInt)
  return aTime === bTime ? aSequence < bSequence : aTime < bTime
}

function streamOf(reply: unknown): StreamState {
  const fields = readPairs(reply)
  return {
    length: Number(fields.get('length') ?? 0),
    firstEntryId: entryId(fields.get('first-entry')),
    lastEntryId: entryId(fields.get('last-entry')),
    lastGeneratedId: String(fields.get('last-generated-id') ?? '0-0'),
    entriesAdded: integer(fields.get('entries-added')),
  }
}

function groupOf(row: unknown, stream: StreamState): GroupState {
  const fields = readPairs(row)
  const lastDeliveredId = String(fields.get('last-delivered-id') ?? '0-0')
  return {
    name: String(fields.get('name')),
    consumers: Number(fields.get('consumers')),
    pending: Number(fields.get('pending')),
    lastDeliveredId,
    entriesRead: integer(fields.get('entries-read')),
    lag: lagOf(stream, lastDeliveredId, integer(fields.get('lag'))),
  }
}

/** The lag that Redis reports also counts entries that were trimmed away before the group read them. */
function lagOf({ length, firstEntryId, lastEntryId }: StreamState, delivered: string, lag: number | null) {
  if (firstEntryId === null || lastEntryId === null || !isBefore(delivered, lastEntryId)) return 0
  return isBefore(delivered, firstEntryId) ? length : lag
}

function entryId(entry: unknown): string | null {
  return Array.isArray(entry) ? String(entry[0]) : null
}

function integer(value: unknown): number | null {
  return typeof value === 'number' ? value : null
}
