import { PRUNE_BATCH } from '../subscriptions/inbox.ts'
import type { InboxTransaction } from '../subscriptions/index.ts'
import { checkKey } from './append-statement.ts'
import { literal, type Session, type Statement } from './session.ts'

/** The inbox records: on any connection, or in a transaction. */
export class PostgresInboxNotes implements InboxTransaction {
  readonly #session: Session
  readonly #assertOpen: (operation: string) => Promise<void>
  readonly #statements: ReturnType<typeof statementsFor>

  /** @param assertOpen - rejects if the session has no open transaction. */
  constructor(session: Session, schema: string, assertOpen: (operation: string) => Promise<void>) {
    this.#session = session
    this.#assertOpen = assertOpen
    this.#statements = statementsFor(`${schema}.inbox`)
  }

  async add(handlerName: string, eventId: string): Promise<boolean> {
    checkKey('handlerName', handlerName)
    checkKey('eventId', eventId)
    await this.#assertOpen('inbox.add')
    return (await this.#session.run(this.#statements.add, [handlerName, eventId])).length > 0
  }

  async has(handlerName: string, eventId: string): Promise<boolean> {
    return (await this.#session.run(this.#statements.has, [handlerName, eventId])).length > 0
  }

  async pruneSome(notedBefore: Date): Promise<number> {
    const removed = await this.#session.run(this.#statements.prune, [notedBefore.toISOString()])
    return removed.length
  }
}

/**
 * The statement that adds a record, without parameters, so that it can be sent together with `begin`. It returns a row
 * if the record is new.
 * @throws PostgresValueError
 */
export function addNoteText(schema: string, handlerName: string, eventId: string): string {
  checkKey('handlerName', handlerName)
  checkKey('eventId', eventId)
  return addNote(`${schema}.inbox`, literal(handlerName), literal(eventId))
}

/** Waits for another open transaction that has added the same record. */
const addNote = (table: string, handlerName: string, eventId: string): string =>
  `insert into ${table} (handler, event_id) values (${handlerName}, ${eventId}) on conflict do nothing returning 1`

function statementsFor(table: string) {
  return {
    add: { key: 'add_note', text: addNote(table, '$1', '$2'), isWrite: true },
    has: { key: 'has_note', text: `select 1 from ${table} where handler = $1 and event_id = $2` },
    // Several processes may prune at once without waiting for each other.
    prune: {
      key: 'prune_notes',
      text:
        `delete from ${table} where ctid = any (array(select ctid from ${table} where noted_at < $1::timestamptz ` +
        `order by noted_at limit ${PRUNE_BATCH} for update skip locked)) returning 1`,
      isWrite: true,
    },
  } satisfies Record<string, Statement>
}
