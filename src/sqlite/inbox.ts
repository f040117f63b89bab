import type { InboxTransaction } from '../subscriptions/index.ts'
import type { SqliteAccess } from './access.ts'

/** The inbox records: those of the file, or in a transaction. */
export class SqliteInboxNotes implements InboxTransaction {
  readonly #access: SqliteAccess

  constructor(access: SqliteAccess) {
    this.#access = access
  }

  add(handlerName: string, eventId: string): Promise<boolean> {
    return this.#access.write('addNote', { handlerName, eventId })
  }

  has(handlerName: string, eventId: string): Promise<boolean> {
    const sql = 'select 1 from eventspine_inbox where handler = ? and event_id = ?'
    return this.#access.read((db) => db.get(sql, handlerName, eventId) !== undefined)
  }

  pruneSome(notedBefore: Date): Promise<number> {
    return this.#access.write('pruneNotes', { notedBefore: notedBefore.getTime() })
  }
}
