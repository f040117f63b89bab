import { encodeRow, type RowDecoder, type StoredRow } from '../store/event-row.ts'
import type { ParkedEvent, ParkedEventFilter, SubscriptionDeadLetterStore } from '../subscriptions/index.ts'
import { checkKey } from './append-statement.ts'
import { dateOf, numberOf, type Row, type Session, type Statement, textOf } from './session.ts'

/** Rows that one statement of `prune` removes, so that locks are held only briefly. */
const PRUNE_ROWS = 1000

/** The events that subscriptions have dead-lettered. */
export class PostgresDeadLetterStore implements SubscriptionDeadLetterStore {
  readonly #session: Session
  readonly #decoder: RowDecoder
  readonly #statements: ReturnType<typeof statementsFor>

  constructor(session: Session, schema: string, decoder: RowDecoder) {
    this.#session = session
    this.#decoder = decoder
    this.#statements = statementsFor(`${schema}.parked_events`)
  }

  async add(parked: ParkedEvent): Promise<void> {
    checkKey('subscription', parked.subscription)
    await this.#session.run(this.#statements.add, [
      parked.subscription,
      parked.position,
      JSON.stringify({ ...encodeRow(parked.event), aggregateVersion: parked.event.aggregateVersion }),
      JSON.stringify(parked.handlerNames),
      withoutZero(parked.errorName),
      withoutZero(parked.errorMessage),
      parked.errorStack === undefined ? null : withoutZero(parked.errorStack),
      parked.attempts,
      parked.firstFailedAt.toISOString(),
      parked.failedAt.toISOString(),
    ])
  }

  async list({ subscription, after, limit = 100 }: ParkedEventFilter = {}): Promise<readonly ParkedEvent[]> {
    const rows = await this.#session.run(this.#statements.list, [
      subscription ?? null,
      after?.subscription ?? null,
      after?.position ?? null,
      Number.isFinite(limit) ? limit : null,
    ])
    return rows.map((row) => this.#decode(row))
  }

  async counts(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#session.run(this.#statements.count, [])
    return new Map(rows.map(([subscription, count]) => [textOf(subscription), numberOf(count)]))
  }

  async remove(subscription: string, position: number): Promise<boolean> {
    const removed = await this.#session.run(this.#statements.remove, [subscription, position])
    return removed.length > 0
  }

  async prune(failedBefore: Date): Promise<number> {
    let count = 0
    for (;;) {
      const removed = await this.#session.run(this.#statements.prune, [
        failedBefore.toISOString(),
        PRUNE_ROWS,
      ])
      count += removed.length
      if (removed.length < PRUNE_ROWS) return count
    }
  }

  #decode(row: Row): ParkedEvent {
    const [subscription, position, event, handlerNames, errorName, ...others] = row
    const [errorMessage, errorStack, attempts, first, last] = others
    // `add` has written this value.
    const stored = JSON.parse(textOf(event)) as Omit<StoredRow, 'position' | 'storedAt'>
    const [at, failedAt] = [numberOf(position), dateOf(last)]
    return {
      subscription: textOf(subscription),
      position: at,
      event: this.#decoder.decode({ ...stored, position: at, storedAt: failedAt }).event,
      handlerNames: JSON.parse(textOf(handlerNames)),
      errorName: textOf(errorName),
      errorMessage: textOf(errorMessage),
      ...(errorStack !== null && { errorStack: textOf(errorStack) }),
      attempts: numberOf(attempts),
      firstFailedAt: dateOf(first),
      failedAt,
    }
  }
}

/** Replaces zero bytes and lone surrogates, which the server cannot store. A handler's error may contain both. */
const withoutZero = (text: string): string => text.replaceAll('\0', '\\0').toWellFormed()

function statementsFor(table: string) {
  return {
    add: {
      key: 'add_parked',
      text:
        `insert into ${table} (subscription, position, event, handler_names, error_name, error_message, error_stack, ` +
        'attempts, first_failed_at, failed_at) values ($1, $2, $3, array(select json_array_elements_text($4::json)), ' +
        '$5, $6, $7, $8, $9, $10) on conflict (subscription, position) do update set event = excluded.event, ' +
        'handler_names = excluded.handler_names, error_name = excluded.error_name, ' +
        'error_message = excluded.error_message, error_stack = excluded.error_stack, attempts = excluded.attempts, ' +
        'first_failed_at = excluded.first_failed_at, failed_at = excluded.failed_at',
      isWrite: true,
    },
    // In byte order, independent of the database's collation.
    list: {
      key: 'list_parked',
      text:
        'select subscription, position, event::text, array_to_json(handler_names)::text, error_name, error_message, ' +
        `error_stack, attempts, date_part('epoch', first_failed_at), date_part('epoch', failed_at) from ${table} ` +
        'where ($1::text is null or subscription = $1) and ' +
        '($2::text is null or (subscription, position) > ($2, $3::bigint)) ' +
        'order by subscription, position limit $4',
    },
    count: {
      key: 'count_parked',
      text: `select subscription, count(*) from ${table} group by subscription`,
    },
    remove: {
      key: 'remove_parked',
      text: `delete from ${table} where subscription = $1 and position = $2 returning 1`,
      isWrite: true,
    },
    prune: {
      key: 'prune_parked',
      text:
        `delete from ${table} where (subscription, position) in (select subscription, position from ${table} ` +
        'where failed_at < $1 order by failed_at limit $2 for update skip locked) returning 1',
      isWrite: true,
    },
  } satisfies Record<string, Statement>
}
