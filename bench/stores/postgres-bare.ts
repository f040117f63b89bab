// The bare client on the tables of a store.
import type { DomainEvent } from 'eventspine'
import type { Pool, PoolClient } from 'pg'
import type { OrderPlaced } from './store-bench.ts'

const COLUMNS =
  'event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, correlation_id, occurred_at, payload'

/** The columns that a reader needs, as text. */
export const READ =
  'position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, tenant_id, ' +
  'correlation_id, causation_id, actor_id, occurred_at, stored_at, payload::text, metadata::text'

export type BarePostgres = ReturnType<typeof openBare>

/** The bare client on the same tables and indexes, with naive inserts: one statement for all events. */
export function openBare(pool: Pool, schema: string) {
  const insert = {
    name: `bare_${schema}`,
    text:
      `insert into ${schema}.events (${COLUMNS}) select * from unnest($1::text[], $2::text[], $3::text[], $4::int[], ` +
      '$5::text[], $6::int[], $7::text[], $8::timestamptz[], $9::json[])',
  }
  const write = async (events: readonly DomainEvent[], client: Pool | PoolClient = pool) => {
    const values = [
      events.map(({ eventId }) => eventId),
      events.map(({ aggregateType }) => aggregateType),
      events.map(({ aggregateId }) => aggregateId),
      events.map((_, index) => index + 1),
      events.map(({ eventType }) => eventType),
      events.map(() => 1),
      events.map(({ correlationId }) => correlationId),
      events.map(({ occurredAt }) => occurredAt.toISOString()),
      events.map((event) => {
        const { customerId, total, lines } = event as OrderPlaced
        return JSON.stringify({ customerId, total, lines })
      }),
    ]
    await client.query({ ...insert, values })
  }
  const readPage = async (from: number, condition = '', limit = 500): Promise<readonly string[][]> => {
    const text = `select ${READ} from ${schema}.events where position > $1 ${condition} order by position limit ${limit}`
    const query = {
      name: `page_${schema}_${condition.length}`,
      text,
      values: [from],
      rowMode: 'array' as const,
    }
    return (await pool.query<string[]>({ ...query, types: { getTypeParser: () => (cell: string) => cell } }))
      .rows
  }
  return { schema, write, readPage }
}
