import type { StreamName } from '../store/index.ts'
import { PostgresArchiveError } from './errors.ts'
import { numberOf, type Session, type Statement, textOf } from './session.ts'

/** The events to archive: a stream, or all events up to a position. */
export type PostgresArchiveTarget = StreamName | { readonly upTo: number }

/** Events per transaction, so that locks are held only briefly. */
const BATCH = 1000

/**
 * Moves events from the feed to the archive.
 *
 * @param head - the end of the feed; later events stay.
 * @returns the number of archived events.
 * @throws PostgresArchiveError
 */
export async function archiveEvents(
  session: Session,
  schema: string,
  target: PostgresArchiveTarget,
  head: number,
): Promise<number> {
  const isPrefix = 'upTo' in target
  const values = isPrefix ? [Math.min(head, target.upTo)] : [head, target.aggregateId, target.aggregateType]
  const where = `position <= $1${isPrefix ? '' : ' and aggregate_id = $2 and aggregate_type = $3'}`
  const kind = isPrefix ? 'prefix' : 'stream'
  const last: Statement = {
    key: `last_of_${kind}`,
    text: `select max(position) from ${schema}.events where ${where}`,
  }
  const [[position] = []] = await session.run(last, values)
  await refuseUnread(session, schema, numberOf(position ?? '0'))
  const move: Statement = {
    key: `archive_${kind}`,
    text:
      `with moved as (delete from ${schema}.events where position in (select position from ${schema}.events ` +
      `where ${where} order by position limit ${BATCH}) returning *) ` +
      `insert into ${schema}.events_archive select * from moved returning 1`,
    isWrite: true,
  }
  let count = 0
  for (;;) {
    const moved = await session.run(move, values)
    count += moved.length
    if (moved.length < BATCH) return count
  }
}

/** @throws PostgresArchiveError if a checkpoint is before the position. */
async function refuseUnread(session: Session, schema: string, position: number): Promise<void> {
  const text = `select name from ${schema}.checkpoints where position < $1 order by position limit 1`
  const [behind] = await session.run({ key: 'behind', text }, [position])
  if (behind !== undefined) throw new PostgresArchiveError(textOf(behind[0]))
}
