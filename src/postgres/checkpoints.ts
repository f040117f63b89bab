import {
  type Checkpoint,
  CheckpointConflictError,
  type CheckpointTransaction,
  type ListedCheckpoints,
  type NamedCheckpoint,
} from '../subscriptions/index.ts'
import { checkKey } from './append-statement.ts'
import { numberOf, optionalNumber, type Row, type Session, type Statement, textOf } from './session.ts'

/** The position of each subscription. */
export class PostgresCheckpointStore implements CheckpointTransaction, ListedCheckpoints {
  readonly #session: Session
  readonly #statements: CheckpointStatements

  constructor(session: Session, statements: CheckpointStatements) {
    this.#session = session
    this.#statements = statements
  }

  async load(name: string): Promise<Checkpoint | undefined> {
    const [row] = await this.#session.run(this.#statements.load, [name])
    return row && checkpointOf(row)
  }

  save(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    const { create, replace } = this.#statements
    return this.#run(previous === undefined ? create : replace, name, checkpoint, previous)
  }

  advance(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    const { start, advance } = this.#statements
    return this.#run(previous === undefined ? start : advance, name, checkpoint, previous)
  }

  async list(): Promise<readonly NamedCheckpoint[]> {
    const rows = await this.#session.run(this.#statements.list)
    return rows.map(([name, savedAt, ...rest]) => ({
      ...checkpointOf(rest),
      name: textOf(name),
      savedAt: new Date(numberOf(savedAt) * 1000),
    }))
  }

  async #run(
    statement: Statement,
    name: string,
    checkpoint: Checkpoint,
    previous: number | undefined,
  ): Promise<void> {
    checkKey('name', name)
    const { position, storeId, eventId, fence } = checkpoint
    const values = [name, position, storeId ?? null, eventId ?? null, fence ?? null]
    const saved = await this.#session.run(statement, previous === undefined ? values : [...values, previous])
    if (saved.length > 0) return
    throw new CheckpointConflictError(name, previous, (await this.load(name))?.position)
  }
}

function checkpointOf([position, storeId, eventId, fence]: Row): Checkpoint {
  return {
    position: numberOf(position),
    storeId: storeId ?? undefined,
    eventId: eventId ?? undefined,
    fence: optionalNumber(fence),
  }
}

export type CheckpointStatements = Readonly<
  Record<'load' | 'list' | 'create' | 'replace' | 'start' | 'advance', Statement>
>

/** The checkpoints of the event store's subscriptions. */
export const eventCheckpoints = (schema: string): CheckpointStatements =>
  statementsFor({ table: `${schema}.checkpoints`, key: 'checkpoint', saved: (save) => save })

/**
 * Number of rows of the outbox that one save of a checkpoint may remove in addition to those that the relay has published
 * since the previous save. Published rows are therefore removed faster than they are added, however large a batch is.
 */
const REMOVED_PER_SAVE = 2000

/**
 * The checkpoints of the outbox's relays. A save removes the events that all relays have published, except the last of
 * them.
 */
export function relayCheckpoints(schema: string): CheckpointStatements {
  const [outbox, relays] = [`${schema}.outbox`, `${schema}.outbox_relays`]
  const published = `least($2::bigint, (select min(r.position) from ${relays} r where r.name <> $1))`
  const removable = (passed: string) =>
    `select o.ctid from ${outbox} o where exists (select from saved) and o.position < ${published} ` +
    `order by o.position limit ${REMOVED_PER_SAVE} + ${passed} for update skip locked`
  const remove = (passed: string) => `delete from ${outbox} where ctid = any (array(${removable(passed)}))`
  const saved = (save: string, passed: string) =>
    `with saved as (${save}), removed as (${remove(passed)}) select 1 from saved`
  return statementsFor({ table: relays, key: 'relay', saved })
}

function statementsFor({
  table,
  key,
  saved,
}: {
  readonly table: string
  readonly key: string
  /** Completes the statement that saves; `passed` is the number of positions since the previous save, in SQL. */
  readonly saved: (save: string, passed: string) => string
}): CheckpointStatements {
  const isNotFenced = 'coalesce($5::bigint >= present.fence, true)'
  const [fromStart, sincePrevious] = ['$2::bigint', '$2::bigint - $6::bigint']
  const values =
    'position = $2, store_id = $3::text, event_id = $4, fence = coalesce($5::bigint, present.fence), saved_at = clock_timestamp()'
  return {
    load: {
      key: `load_${key}`,
      text: `select position, store_id, event_id, fence from ${table} where name = $1`,
    },
    list: {
      key: `list_${key}`,
      // In byte order, independent of the database's collation.
      text: `select name, date_part('epoch', saved_at), position, store_id, event_id, fence from ${table} order by name collate "C"`,
    },
    create: {
      key: `create_${key}`,
      text: saved(
        `insert into ${table} as present (name, position, store_id, event_id, fence) ` +
          `values ($1, $2, $3, $4, $5::bigint) on conflict (name) do update set ${values} ` +
          `where present.position = $2 and ${isNotFenced} returning 1`,
        fromStart,
      ),
      isWrite: true,
    },
    replace: {
      key: `replace_${key}`,
      text: saved(
        `update ${table} as present set ${values} ` +
          `where name = $1 and position in ($2, $6) and ${isNotFenced} returning 1`,
        sincePrevious,
      ),
      isWrite: true,
    },
    // Strictly: a position that is stored already is a conflict.
    start: {
      key: `start_${key}`,
      text: saved(
        `insert into ${table} (name, position, store_id, event_id, fence) values ($1, $2, $3, $4, $5::bigint) ` +
          'on conflict do nothing returning 1',
        fromStart,
      ),
      isWrite: true,
    },
    advance: {
      key: `advance_${key}`,
      text: saved(
        `update ${table} as present set ${values} where name = $1 and position = $6 and ${isNotFenced} returning 1`,
        sincePrevious,
      ),
      isWrite: true,
    },
  }
}
