/**
 * The last position that was drawn from a sequence, as SQL; 0 if there is none.
 *
 * A `select last_value` would not do. It reads the sequence without a lock, and for an instant of every 32nd `nextval`
 * PostgreSQL keeps the value there that it writes to the log, which is up to 32 positions ahead. With such a value, a
 * reader would pass positions that are still to be drawn, and lose their events. `pg_sequence_last_value` takes the lock.
 *
 * @param sequence - the name as an SQL literal without its quotes.
 */
export const drawnPosition = (sequence: string): string =>
  `coalesce(pg_sequence_last_value('${sequence}'::regclass), 0)`

/** How the first migrations read a sequence `s`. */
const INEXACT = 'case when s.is_called then s.last_value else 0 end'

/**
 * Replaces functions of the first migrations by functions that read their sequence exactly. They still select from the
 * sequence, which fails without the right to; `pg_sequence_last_value` alone returns null.
 */
export const withDrawnPosition = (functions: string): string =>
  functions
    .replaceAll('create function', 'create or replace function')
    .split(/(?=^create or replace function)/m)
    .map((text) => text.replaceAll(INEXACT, drawnPosition(sequenceIn(text))))
    .join('')

function sequenceIn(text: string): string {
  const [name = ''] = /\{schema\}\.\w+_position_seq/.exec(text) ?? []
  return name
}
