import type { DomainEvent } from '../events/index.ts'
import { type EventRow, encodeRow } from '../store/event-row.ts'
import type { AppendRequest, ExpectedVersion } from '../store/index.ts'
import { PostgresValueError } from './errors.ts'
import type { Statement } from './session.ts'

/** An append, ready to be sent. */
export interface PreparedAppend {
  readonly aggregateType: string
  readonly aggregateId: string
  /** A version, -1 for any version, or -2 for an existing stream. */
  readonly expected: number
  readonly rows: readonly EventRow[]
  /** Approximate number of characters to send. */
  readonly bytes: number
}

/** The server's answer to one append. */
export interface AppendOutcome {
  readonly letter: OutcomeLetter
  /** Version of the stream before the append. */
  readonly version: number
  /** Position of the last event; 0 if nothing was written. */
  readonly lastPosition: number
}

/**
 * `w` written, `c` conflict, `d` stream deleted, `k` some event ids are already in the store, `b` another transaction
 * holds the stream, `s` the snapshot of the transaction does not show the end of the stream.
 */
export type OutcomeLetter = 'w' | 'c' | 'd' | 'k' | 'b' | 's'

/** An index entry is limited to 2,704 bytes; the entry of a stream also holds other columns. */
const MAX_KEY_BYTES = 1300

/** Limit for a field of a row. The server's limit is 1 GB, and escapes in a statement may double the size. */
const MAX_PAYLOAD_BYTES = 256 * 1024 * 1024

/** @throws PostgresValueError for what the server would refuse. */
export function prepareAppend({
  aggregateId,
  aggregateType,
  events,
  expectedVersion,
}: AppendRequest): PreparedAppend {
  checkKey('aggregateType', aggregateType)
  checkKey('aggregateId', aggregateId)
  const rows = events.map((event) => encodeRow(event))
  let bytes = 0
  for (const row of rows) {
    checkRow(row)
    bytes += row.payload.length + (row.metadata?.length ?? 0) + 200
  }
  return { aggregateType, aggregateId, expected: expectedNumber(expectedVersion), rows, bytes }
}

/** @throws PostgresValueError for what the server would refuse. */
export function prepareImport(event: DomainEvent): EventRow & { readonly occurredAt: string } {
  checkKey('aggregateType', event.aggregateType)
  checkKey('aggregateId', event.aggregateId)
  const row = encodeRow(event)
  checkRow(row)
  return { ...row, occurredAt: timestamp(row.occurredAt) }
}

function checkRow(row: EventRow): void {
  checkKey('eventId', row.eventId)
  checkKey('eventType', row.eventType)
  checkKey('correlationId', row.correlationId)
  checkText('causationId', row.causationId)
  checkText('actorId', row.actorId)
  if (row.tenantId !== null) checkKey('tenantId', row.tenantId)
  if (row.payload.length > MAX_PAYLOAD_BYTES) {
    throw new PostgresValueError(
      `the payload of ${row.eventType} ${row.eventId} has ${row.payload.length} characters`,
    )
  }
  if (row.eventVersion > MAX_INTEGER) {
    throw new PostgresValueError(`the eventVersion ${row.eventVersion} is larger than ${MAX_INTEGER}`)
  }
}

const MAX_INTEGER = 2 ** 31 - 1

/** @throws PostgresValueError if an index cannot hold the value. */
export function checkKey(name: string, value: string): void {
  checkText(name, value)
  // UTF-8 needs at most three bytes per code unit.
  if (value.length * 3 <= MAX_KEY_BYTES) return
  const bytes = Buffer.byteLength(value)
  if (bytes <= MAX_KEY_BYTES) return
  throw new PostgresValueError(
    `the ${name} has ${bytes} bytes, more than the limit of ${MAX_KEY_BYTES} for an index`,
  )
}

function checkText(name: string, value: string | null): void {
  if (value === null) return
  if (value.includes('\0')) throw new PostgresValueError(`the ${name} has a zero byte`)
  if (!value.isWellFormed()) throw new PostgresValueError(`the ${name} is not well-formed Unicode`)
}

function expectedNumber(expected: ExpectedVersion): number {
  switch (expected) {
    case 'any':
      return -1
    case 'streamExists':
      return -2
    case 'noStream':
      return 0
    default:
      // No stream is that long.
      return Math.min(expected, MAX_INTEGER)
  }
}

export function appendStatement(schema: string): Statement {
  const places = Array.from({ length: 16 }, (_, index) => `$${index + 1}`).join(', ')
  return { key: 'append', text: `select * from ${schema}.append(${places})`, isWrite: true }
}

export function appendManyStatement(schema: string): Statement {
  const places = Array.from({ length: 17 }, (_, index) => `$${index + 1}`).join(', ')
  const columns = "outcomes, array_to_string(versions, ','), array_to_string(positions, ',')"
  return {
    key: 'append_many',
    text: `select ${columns} from ${schema}.append_many(${places})`,
    isWrite: true,
  }
}

/** The columns of events as arrays, in the parameter order of both append functions. */
export function eventColumns(rows: readonly EventRow[]): readonly unknown[] {
  return [
    rows.map(({ eventId }) => eventId),
    rows.map(({ eventType }) => eventType),
    rows.map(({ eventVersion }) => eventVersion),
    rows.map(({ tenantId }) => tenantId),
    rows.map(({ correlationId }) => correlationId),
    rows.map(({ causationId }) => causationId),
    rows.map(({ actorId }) => actorId),
    rows.map(({ occurredAt }) => timestamp(occurredAt)),
    rows.map(({ payload }) => payload),
    rows.map(({ metadata }) => metadata),
  ]
}

/** ISO 8601 writes years after 9999 and before 1 with a sign, which the server does not parse. */
function timestamp(time: string | number): string {
  const iso = typeof time === 'number' ? new Date(time).toISOString() : time
  const sign = iso[0]
  if (sign !== '+' && sign !== '-') return iso
  const year = Number(iso.slice(0, 7))
  if (year >= 1) return `${String(year).padStart(4, '0')}${iso.slice(7)}`
  return `${String(1 - year).padStart(4, '0')}${iso.slice(7)} BC`
}
