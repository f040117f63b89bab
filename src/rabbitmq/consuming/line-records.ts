import type { AmqpMessage, AmqpProperties, AmqpTable } from '../client/client.ts'
import { copyOf } from '../dead-letters/dead-letter-message.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { AmqpOutgoing } from '../wire/message.ts'
import type { LineEntry } from './line-index.ts'
import type { LineRecord } from './line-queue.ts'
import { waitingSince } from './waiting-since.ts'

/** The id of the wait. */
const ID = 'x-line-id'
const LINE = 'x-line-name'
/** The place in the line. */
const PLACE = 'x-line-place'
/** When the wait is over, in milliseconds since 1970. */
const DUE = 'x-line-due'
/** The record of the entry that was published. */
const OF = 'x-line-of'

type RecordFields = Pick<LineEntry, 'id'> &
  Partial<Pick<LineEntry, 'line' | 'place' | 'dueAt'>> & { readonly of?: string }

/** @param properties - of the message in the record. */
export function recordOf(
  kind: 'waiting' | 'parked' | 'released' | 'replayed' | 'end',
  { id, line, place, dueAt, of }: RecordFields,
  properties: AmqpProperties = {},
): LineRecord {
  const headers: AmqpTable = {
    ...properties.headers,
    [ID]: id,
    ...(line !== undefined && { [LINE]: line }),
    // As text: AMQP has no integers of this size that all clients write alike.
    ...(place !== undefined && { [PLACE]: String(place) }),
    ...(dueAt !== undefined && { [DUE]: String(dueAt) }),
    ...(of !== undefined && { [OF]: of }),
  }
  return { kind, headers, properties }
}

/** The entry in a record; undefined if it has another kind. */
export function entryIn(record: string, kind: string, message: AmqpMessage): LineEntry | undefined {
  if (kind !== 'waiting' && kind !== 'parked') return undefined
  const isParked = kind === 'parked'
  return {
    record,
    id: textIn(message, ID),
    line: textIn(message, LINE),
    place: Number(textIn(message, PLACE)),
    dueAt: isParked ? Number.POSITIVE_INFINITY : Number(textIn(message, DUE)),
    since: waitingSince(message),
    isParked,
  }
}

/** The wait that a note or an end refers to. */
export function noteIn(message: AmqpMessage): { readonly id: string; readonly of: string } {
  return { id: textIn(message, ID), of: textIn(message, OF) }
}

/** The id of the place that a message has among those of its line, which names the partition. */
export function placeIdOf(partition: number | undefined, messageId: string, handlerName: string): string {
  return JSON.stringify([partition ?? null, messageId, handlerName])
}

/** @returns null for a group without partitions; undefined if the text is not the id of a place. */
export function partitionOfPlace(id: string): number | null | undefined {
  try {
    const [partition]: unknown[] = JSON.parse(id)
    return partition === null || (typeof partition === 'number' && Number.isSafeInteger(partition))
      ? partition
      : undefined
  } catch {
    return undefined // other programs may write dead letters, too
  }
}

/** The message to publish. @param record - the record that holds it. */
export function originalOf(
  message: AmqpMessage,
  record: string,
): Pick<AmqpOutgoing, 'content' | 'properties'> {
  return copyOf(message, { [OF]: record })
}

/** The record of the entry from which a message was published; undefined if it waited in no line. */
export function recordIn(message: AmqpMessage): string | undefined {
  return textIn(message, OF) || undefined
}

/** Where messages of the group alone are published. */
export function addressOf({
  isPartitioned,
  names,
}: ResolvedRabbitMQOptions): Pick<AmqpOutgoing, 'exchange' | 'routingKey'> {
  return { exchange: isPartitioned ? names.partitionExchange : '', routingKey: names.queue }
}

function textIn({ properties }: AmqpMessage, header: string): string {
  const value = properties.headers?.[header]
  return typeof value === 'string' ? value : ''
}
