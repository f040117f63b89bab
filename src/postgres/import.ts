import { importable } from '../store/event-row.ts'
import type { StoredEvent } from '../store/index.ts'
import { bytesOf } from '../store/page-bytes.ts'
import { isNoAnswer } from './answers.ts'
import { prepareImport } from './append-statement.ts'
import type { PooledPostgresClient } from './client.ts'
import type { PostgresConnections } from './connections.ts'
import { appendText, copyInto } from './copy.ts'
import { isUniqueViolation, translated } from './errors.ts'
import { ClientSession, numberOf, type Statement } from './session.ts'

/** Limits for one transaction of an import: number of events, and approximate characters. */
const BATCH_EVENTS = 10_000
const BATCH_LENGTH = 16 * 1024 * 1024

const COLUMNS =
  'event_id, event_type, event_version, tenant_id, correlation_id, causation_id, actor_id, occurred_at, payload, ' +
  'metadata, aggregate_type, aggregate_id, aggregate_version, stored_at, bytes'

/** Writes events with COPY, many per transaction. @returns the number of events that were new. */
export async function importEvents(
  connections: PostgresConnections,
  schema: string,
  isSerialized: boolean,
  events: AsyncIterable<StoredEvent> | Iterable<StoredEvent>,
): Promise<number> {
  let imported = 0
  const write = async (batch: Batch) => {
    try {
      imported += await connections.withClient((client) =>
        writeBatch(
          client,
          { schema, isSerialized, answerTimeoutMs: connections.style.answerTimeoutMs },
          batch,
        ),
      )
    } catch (thrown) {
      throw translated(thrown, true)
    }
  }
  let batch = new Batch()
  for await (const stored of events) {
    batch.add(stored)
    if (!batch.isFull) continue
    await write(batch)
    batch = new Batch()
  }
  if (batch.count > 0) await write(batch)
  return imported
}

/** Rows in the text form of COPY. */
class Batch {
  count = 0
  readonly chunks: string[] = []
  #length = 0

  get isFull(): boolean {
    return this.count >= BATCH_EVENTS || this.#length >= BATCH_LENGTH
  }

  add(stored: StoredEvent): void {
    const { storedAt } = stored
    const event = importable(stored)
    const row = prepareImport(event)
    const line = [
      row.eventId,
      row.eventType,
      String(row.eventVersion),
      row.tenantId,
      row.correlationId,
      row.causationId,
      row.actorId,
      row.occurredAt,
      row.payload,
      row.metadata,
      row.aggregateType,
      row.aggregateId,
      String(event.aggregateVersion),
      storedAt.toISOString(),
      String(bytesOf(row)),
    ]
    const text = appendText(line)
    this.chunks.push(text)
    this.#length += text.length
    this.count += 1
  }
}

interface ImportTarget {
  readonly schema: string
  readonly isSerialized: boolean
  readonly answerTimeoutMs: number
}

/** @returns the number of events that were written. */
async function writeBatch(client: PooledPostgresClient, target: ImportTarget, batch: Batch): Promise<number> {
  try {
    return await inTransaction(client, target, async () => {
      const copy = `copy ${target.schema}.events (${COLUMNS}) from stdin`
      await copyInto(client, copy, batch.chunks, target.answerTimeoutMs)
      return batch.count
    })
  } catch (thrown) {
    if (!isUniqueViolation(thrown)) throw thrown
    return inTransaction(client, target, (session) => copyNewOnes(client, session, target, batch))
  }
}

/** Writes a batch of which some events are already stored: a temporary table of the session finds the others. */
async function copyNewOnes(
  client: PooledPostgresClient,
  session: ClientSession,
  { schema, answerTimeoutMs }: ImportTarget,
  batch: Batch,
): Promise<number> {
  const create = `create temporary table eventspine_import on commit drop as select ${COLUMNS} from ${schema}.events limit 0`
  await session.send(once(create))
  await session.send(once('alter table eventspine_import add number bigint generated always as identity'))
  await copyInto(client, `copy eventspine_import (${COLUMNS}) from stdin`, batch.chunks, answerTimeoutMs)
  const [row = []] = await session.send(
    once(
      `with written as (insert into ${schema}.events (${COLUMNS}) select ${COLUMNS} from eventspine_import i ` +
        `where not exists (select from ${schema}.events e where e.event_id = i.event_id) ` +
        `and not exists (select from ${schema}.events_archive a where a.event_id = i.event_id) ` +
        'order by number returning 1) select count(*) from written',
    ),
  )
  return numberOf(row[0])
}

async function inTransaction<T>(
  client: PooledPostgresClient,
  { schema, isSerialized, answerTimeoutMs }: ImportTarget,
  work: (session: ClientSession) => Promise<T>,
): Promise<T> {
  const session = new ClientSession(client, { prefix: undefined, answerTimeoutMs })
  await session.send(once('begin'))
  try {
    await session.send(once(`select ${schema}.enter_register($1)`), [isSerialized])
    const result = await work(session)
    await session.send(once('commit'))
    return result
  } catch (thrown) {
    // Closing the connection rolls back, too.
    if (!isNoAnswer(thrown)) await session.send(once('rollback')).catch(() => undefined) // the caller gets the first error
    throw thrown
  }
}

const once = (text: string): Statement => ({ key: '', text })
