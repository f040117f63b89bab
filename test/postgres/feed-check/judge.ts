import type { PoolClient } from 'pg'
import { copyInto } from '../../../src/postgres/copy.ts'
import type { Records } from './records.ts'

/** A writer's knowledge of the events of one append or transaction. */
export interface Fact {
  readonly kind: 'stored' | 'notStored' | 'unknown'
  readonly ids: readonly string[]
}

/** A reader of the feed. */
export interface Follower {
  readonly name: string
  /** The only type of events that it wants; undefined for all. */
  readonly eventType: string | undefined
  /** Events per page. */
  readonly limit: number
}

/** The files of the records: the facts of the writers, and what the followers saw. */
export const FACTS = 'facts'
export const SEEN = 'seen'

const TABLES = `
create schema judge;
create unlogged table judge.facts (kind text not null, event_id text not null);
create unlogged table judge.seen
  (follower text not null, ordinal bigint not null, position bigint not null, event_id text not null);
create unlogged table judge.followers (name text not null, event_type text)`

/** Compares the records with the table of the events, on the server. Every sentence is a broken promise. */
export async function judgeFeed(
  client: PoolClient,
  schema: string,
  records: Records,
  followers: readonly Follower[],
): Promise<readonly string[]> {
  await client.query(TABLES)
  for (const { name, eventType } of followers) {
    await client.query('insert into judge.followers values ($1, $2)', [name, eventType])
  }
  for (const table of [FACTS, SEEN]) {
    for await (const lines of records.read(table)) {
      await copyInto(client, `copy judge.${table} from stdin`, lines, Number.POSITIVE_INFINITY)
    }
  }
  await client.query(`analyze judge.facts, judge.seen, ${schema}.events`)
  const faults: string[] = []
  for (const sentences of questions(schema)) {
    const { rows } = await client.query<{ fault: string }>(sentences)
    faults.push(...rows.map(({ fault }) => fault))
  }
  return faults
}

/** Each statement returns sentences. */
function questions(schema: string): readonly string[] {
  const events = `${schema}.events`
  const isStored = `exists (select from ${events} e where e.event_id = f.event_id)`
  return [
    `select format('%s confirmed events are missing, the first is %s', count(*), min(event_id)) as fault
     from judge.facts f where kind = 'stored' and not ${isStored} having count(*) > 0`,
    `select format('%s events are stored that were rolled back, the first is %s', count(*), min(event_id)) as fault
     from judge.facts f where kind = 'notStored' and ${isStored} having count(*) > 0`,
    `select format('%s event ids are stored twice', count(*) - count(distinct event_id)) as fault
     from ${events} having count(*) > count(distinct event_id)`,
    `select format('%s events have a version out of order, the first is at position %s', count(*), min(position)) as fault
     from (select position, aggregate_version as version,
             row_number() over (partition by aggregate_type, aggregate_id order by position) as expected
           from ${events}) numbered
     where version <> expected having count(*) > 0`,
    `select format('%s went back to position %s', follower, min(position)) as fault
     from (select follower, position, lag(position) over (partition by follower order by ordinal) as previous
           from judge.seen) ordered
     where position <= previous group by follower`,
    `select format('%s saw %s events twice', follower, count(*) - count(distinct event_id)) as fault
     from judge.seen group by follower having count(*) > count(distinct event_id)`,
    `select format('%s lost %s of %s events, the first at %s; the last event is at %s', w.name,
       count(*) filter (where s.event_id is null), count(*), min(e.position) filter (where s.event_id is null),
       max(e.position)) as fault
     from judge.followers w join ${events} e on e.event_type = coalesce(w.event_type, e.event_type)
     left join judge.seen s on s.follower = w.name and s.event_id = e.event_id
     group by w.name having count(*) > count(s.event_id)`,
    `select format('%s saw %s events that are not stored at their position', follower, count(*)) as fault
     from judge.seen s
     where not exists (select from ${events} e where e.event_id = s.event_id and e.position = s.position)
     group by follower`,
  ]
}
