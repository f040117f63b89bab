import { encodeRow, type StoredRow } from '../store/event-row.ts'
import type { ParkedEvent, ParkedEventFilter, SubscriptionDeadLetterStore } from '../subscriptions/index.ts'
import type { SqliteAccess } from './access.ts'
import { text } from './rows.ts'
import type { SqliteRow } from './statements.ts'
import { MOVE_BATCH } from './writes.ts'

export class SqliteDeadLetterStore implements SubscriptionDeadLetterStore {
  readonly #access: SqliteAccess

  constructor(access: SqliteAccess) {
    this.#access = access
  }

  async add({ event, firstFailedAt, failedAt, ...parked }: ParkedEvent): Promise<void> {
    const { aggregateVersion } = event
    const row = JSON.stringify({ ...encodeRow(event), aggregateVersion })
    await this.#access.write(
      'park',
      { ...parked, event: row, firstFailedAt: firstFailedAt.getTime(), failedAt: failedAt.getTime() },
      row.length,
    )
  }

  async list({ subscription, after, limit = 100 }: ParkedEventFilter = {}): Promise<readonly ParkedEvent[]> {
    const of = subscription === undefined ? '' : 'and subscription = ?'
    const rows = await this.#access.read((db) =>
      db.all(
        `select * from eventspine_parked_events where (subscription, position) > (?, ?) ${of}
         order by subscription, position limit ?`,
        ...[after?.subscription ?? '', after?.position ?? 0],
        ...(subscription === undefined ? [] : [subscription]),
        Math.min(limit, Number.MAX_SAFE_INTEGER),
      ),
    )
    return rows.map((row) => this.#parked(row))
  }

  async counts(): Promise<ReadonlyMap<string, number>> {
    const query = 'select subscription, count(*) as count from eventspine_parked_events group by subscription'
    const rows = await this.#access.read((db) => db.all(query))
    return new Map(rows.map((row) => [text(row['subscription']), Number(row['count'])]))
  }

  remove(subscription: string, position: number): Promise<boolean> {
    return this.#access.write('unpark', { subscription, position })
  }

  async prune(failedBefore: Date): Promise<number> {
    let all = 0
    for (;;) {
      const some = await this.#access.write('pruneParked', { failedBefore: failedBefore.getTime() })
      all += some
      if (some < MOVE_BATCH) return all
    }
  }

  #parked(row: SqliteRow): ParkedEvent {
    const position = Number(row['position'])
    const failedAt = new Date(Number(row['failed_at']))
    // `add` has written this value.
    const event = { ...JSON.parse(text(row['event'])), position, storedAt: failedAt } as StoredRow
    return {
      subscription: text(row['subscription']),
      position,
      event: this.#access.decoder.decode(event).event,
      handlerNames: JSON.parse(text(row['handler_names'])),
      errorName: text(row['error_name']),
      errorMessage: text(row['error_message']),
      ...(row['error_stack'] !== null && { errorStack: text(row['error_stack']) }),
      attempts: Number(row['attempts']),
      firstFailedAt: new Date(Number(row['first_failed_at'])),
      failedAt,
    }
  }
}
