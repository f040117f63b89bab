import { type Checkpoint, CheckpointConflictError, type CheckpointStore } from '../subscriptions/index.ts'
import { checkKey } from './append-statement.ts'
import { numberOf, optionalNumber, type Row, type Session, type Statement } from './session.ts'

/** The position of each subscription. */
export class PostgresCheckpointStore implements CheckpointStore {
  readonly #session: Session
  readonly #statements: ReturnType<typeof statementsFor>

  constructor(session: Session, schema: string) {
    this.#session = session
    this.#statements = statementsFor(`${schema}.checkpoints`)
  }

  async load(name: string): Promise<Checkpoint | undefined> {
    const [row] = await this.#session.run(this.#statements.load, [name])
    return row && checkpointOf(row)
  }

  async save(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    checkKey('name', name)
    const { position, storeId, eventId, fence } = checkpoint
    const values = [name, position, storeId ?? null, eventId ?? null, fence ?? null]
    const saved =
      previous === undefined
        ? await this.#session.run(this.#statements.create, values)
        : await this.#session.run(this.#statements.replace, [...values, previous])
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

function statementsFor(table: string) {
  const isNotFenced = 'coalesce($5::bigint >= present.fence, true)'
  const values =
    'position = $2, store_id = $3::text, event_id = $4, fence = coalesce($5::bigint, present.fence), saved_at = clock_timestamp()'
  return {
    load: {
      key: 'load_checkpoint',
      text: `select position, store_id, event_id, fence from ${table} where name = $1`,
    },
    create: {
      key: 'create_checkpoint',
      text:
        `insert into ${table} as present (name, position, store_id, event_id, fence) ` +
        `values ($1, $2, $3, $4, $5::bigint) on conflict (name) do update set ${values} ` +
        `where present.position = $2 and ${isNotFenced} returning 1`,
      isWrite: true,
    },
    replace: {
      key: 'replace_checkpoint',
      text:
        `update ${table} as present set ${values} ` +
        `where name = $1 and position in ($2, $6) and ${isNotFenced} returning 1`,
      isWrite: true,
    },
  } satisfies Record<string, Statement>
}
