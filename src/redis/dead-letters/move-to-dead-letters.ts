import { writeReason } from '../../transport/dead-letter-fields.ts'
import type { ReplayTarget } from '../../transport/replay-headers.ts'
import type { DeadLetterReason, IncomingMessage } from '../../transport/transport.ts'
import { AS_BUFFERS, type RedisClient } from '../client/client.ts'
import type { ConsumedStream, StreamLease } from '../client/consumed-stream.ts'
import { FENCED_OFF, type Fence, runFenced } from '../client/scripts.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readEntries } from '../wire/entry.ts'
import { placeOf } from '../wire/place.ts'
import { type Orders, ordersOf, writeParked } from './parked-places.ts'

/** An id that no entry has. A command on it has no effect, but needs the right. */
const NO_ENTRY = '0-0'
/** The script's reply if it cannot copy the entry. */
const NEEDS_TWO_STEPS = 2

/** An entry to dead-letter, the stream it was read from, and the lease under which it was read. */
export interface FailedEntry {
  readonly message: IncomingMessage
  readonly entryId: string
  readonly stream: ConsumedStream
  readonly lease: StreamLease | undefined
  readonly replayTarget: ReplayTarget | undefined
}

/**
 * Appends the dead letter and acknowledges the entry in one step.
 * @returns false, with nothing stored, if the entry belongs to another consumer by now.
 */
export async function moveToDeadLetters(
  client: RedisClient,
  options: ResolvedRedisOptions,
  failed: FailedEntry,
  reason: DeadLetterReason,
  retryKey: string,
): Promise<boolean> {
  const { keys, consumerGroup, consumerName, address } = options
  const { entryId, stream, lease } = failed
  const { key, partition, deletesSettled } = stream
  const fields = Object.entries(reasonFields(reason, entryId, key)).flat()
  const fence = { leases: keys.leases(consumerGroup), partition, lease }
  const parked = placesFor(failed, reason, keys)
  try {
    const outcome = await runFenced(
      client,
      'DEAD_LETTER',
      fence,
      [key, keys.deadLetters, retryKey, ...(parked === undefined ? [] : [keys.parked, ...parked.orders])],
      [consumerGroup, consumerName, entryId, parked?.note ?? '', ...(parked?.members ?? []), ...fields],
    )
    if (outcome === FENCED_OFF) return false
    if (outcome === NEEDS_TWO_STEPS) {
      if (!(await moveInTwoSteps(client, options, failed, { fields, parked, fence }))) return false
    }
    if (deletesSettled) await client.sendCommand(['XDEL', key, entryId])
    return true
  } catch (error) {
    throw commandError(address, 'EVAL (dead-lettering)', error)
  }
}

/** The places that a dead letter gets; undefined if none. */
function placesFor(
  failed: FailedEntry,
  { parkedFor = [], consumerGroup: group }: DeadLetterReason,
  keys: ResolvedRedisOptions['keys'],
): (Orders & { readonly note: string }) | undefined {
  if (parkedFor.length === 0) return undefined
  const places = new Map(parkedFor.map((name) => [name, placeOf(failed, name, true).member]))
  return { ...ordersOf({ group, places }, keys), note: writeParked({ group, places }) }
}

/** What a dead letter that is stored in two steps gets. */
interface StoredFields {
  readonly fields: readonly string[]
  readonly parked: (Orders & { readonly note: string }) | undefined
  readonly fence: Fence
}

/**
 * Stores the dead letter before the acknowledgment, so that a crash in between duplicates the entry and loses none.
 * @returns false if this consumer lost the partition in between.
 */
async function moveInTwoSteps(
  client: RedisClient,
  { keys, consumerGroup }: ResolvedRedisOptions,
  { message, entryId, stream }: FailedEntry,
  { fields, parked, fence }: StoredFields,
): Promise<boolean> {
  const [entry] = readEntries(await client.sendCommand(['XRANGE', stream.key, entryId, entryId], AS_BUFFERS))
  // If the entry was trimmed, only the decoded message is left.
  const body = typeof message.body === 'string' ? message.body : Buffer.from(message.body)
  const original = entry?.fields ?? [...Object.entries(message.headers).flat(), 'payload', body]
  // Without the right to acknowledge, each try would store another dead letter.
  await client.sendCommand(['XACK', stream.key, consumerGroup, NO_ENTRY])
  const id = String(await client.sendCommand(['XADD', keys.deadLetters, '*', ...original, ...fields]))
  if (parked !== undefined) {
    const outcome = await runFenced(
      client,
      'PARK',
      fence,
      [keys.parked, ...parked.orders],
      [id, parked.note, ...parked.members],
    )
    if (outcome === FENCED_OFF) return false
  }
  await client.sendCommand(['XACK', stream.key, consumerGroup, entryId])
  return true
}

/**
 * The three fields of eventsource-py, then fields that it ignores. All of them are always written: they follow those of the
 * entry, which may have the same names.
 */
function reasonFields(reason: DeadLetterReason, id: string, stream: string): Record<string, string> {
  const { dlq_retry_count: retryCount = '0', ...rest } = writeReason(reason)
  return {
    original_message_id: id,
    retry_count: retryCount,
    dlq_error_stack: '',
    dlq_parked_for: '',
    ...rest,
    dlq_original_stream: stream,
  }
}
