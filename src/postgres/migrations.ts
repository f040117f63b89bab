import { createHash } from 'node:crypto'
import { StoreSchemaError } from '../store/index.ts'
import type { PostgresClient } from './client.ts'
import type { PostgresConnections } from './connections.ts'
import { STORE, sqlStateOf, translated } from './errors.ts'
import { type SchemaStep, schemaSteps, schemaVersion } from './schema.ts'
import { ClientSession, numberOf, quoted, type Row, textOf } from './session.ts'

/** A migration, applied or pending. */
export interface PostgresMigration {
  readonly version: number
  readonly name: string
  /** The SQL of this release with the name of the schema. */
  readonly sql: string
  readonly isApplied: boolean
}

interface AppliedStep {
  readonly version: number
  readonly name: string
  readonly checksum: string
  readonly oldestLibrary: number
}

/**
 * The schema of the stores: checks it, migrates it, or returns the SQL to do so. Each migration runs in its own
 * transaction, under a lock that makes other instances wait. None removes data.
 */
export class PostgresMigrations {
  readonly #connections: PostgresConnections
  readonly #schema: string

  constructor(connections: PostgresConnections, schema: string) {
    this.#connections = connections
    this.#schema = schema
  }

  /** All migrations of this release, each with its state. */
  async list(): Promise<readonly PostgresMigration[]> {
    const applied = await this.#applied()
    return schemaSteps.map((step) => ({
      version: step.version,
      name: step.name,
      sql: rendered(step, this.#schema),
      isApplied: applied.some(({ version }) => version === step.version),
    }))
  }

  /**
   * Runs the missing migrations. Several instances may call it concurrently.
   * @throws StoreSchemaError if the schema is newer than this release, or was changed manually.
   */
  async run(): Promise<void> {
    for (const step of schemaSteps) {
      const applied = await this.#applied()
      this.#refuseOthers(applied)
      if (!applied.some(({ version }) => version === step.version)) await this.#runStep(step)
    }
  }

  /**
   * @throws StoreSchemaError if migrations are missing, or if the schema is newer than this release or was changed
   * manually.
   */
  async check(): Promise<void> {
    const applied = await this.#applied()
    this.#refuseOthers(applied)
    const found = newest(applied)
    if (found >= schemaVersion) return
    throw new StoreSchemaError(this.#name, found, schemaVersion, remedy())
  }

  get #name(): string {
    return `The schema ${this.#schema} of ${STORE}`
  }

  /** @throws StoreSchemaError */
  #refuseOthers(applied: readonly AppliedStep[]): void {
    const tooNew = applied.filter(({ oldestLibrary }) => oldestLibrary > schemaVersion)
    if (tooNew.length > 0) {
      const detail = 'A newer release has migrated it. Use that release in this process, too.'
      throw new StoreSchemaError(this.#name, newest(applied), schemaVersion, detail)
    }
    for (const { version, name, checksum } of applied) {
      const step = schemaSteps.find((own) => own.version === version)
      if (step === undefined || checksum === checksumOf(step)) continue
      const detail = `Its migration ${version} (${name}) differs from that of this release: it may have been changed manually.`
      throw new StoreSchemaError(this.#name, newest(applied), schemaVersion, detail)
    }
  }

  async #runStep(step: SchemaStep): Promise<void> {
    await this.#connections.withClient(async (client) => {
      try {
        await client.query({ text: 'begin' })
        await client.query({
          text: `select pg_advisory_xact_lock(hashtextextended('eventspine migrations', 0))`,
        })
        // Another instance may have run it in the meantime.
        const applied = await this.#read(client)
        if (!applied.some(({ version }) => version === step.version)) {
          await client.query({ text: rendered(step, this.#schema) })
        }
        await client.query({ text: 'commit' })
      } catch (thrown) {
        await client.query({ text: 'rollback' })
        throw translated(thrown, false)
      }
    })
  }

  #applied(): Promise<readonly AppliedStep[]> {
    return this.#connections.withClient((client) => this.#read(client))
  }

  async #read(client: PostgresClient): Promise<readonly AppliedStep[]> {
    const { answerTimeoutMs } = this.#connections.style
    const session = new ClientSession(client, { prefix: undefined, answerTimeoutMs })
    // to_regclass uses a cache that misses tables of other sessions while this transaction runs.
    const find =
      'select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2'
    const found = await session.run({ key: '', text: find }, [this.#schema, 'migrations'])
    if (found.length === 0) return []
    const table = `${quoted(this.#schema)}.migrations`
    const text = `select version, name, checksum, oldest_library from ${table} order by version`
    return (await session.run({ key: '', text })).map(appliedStep)
  }
}

/** Returns the SQL of all migrations, or of those after a version, so that other tools can run it. */
export function postgresMigrationSql(
  options: { readonly schema?: string; readonly after?: number } = {},
): string {
  const { schema = 'eventspine', after = 0 } = options
  const steps = schemaSteps.filter(({ version }) => version > after)
  return steps.map((step) => `begin;\n${rendered(step, schema)}commit;\n`).join('\n')
}

/** True if the error reports a missing schema, or a missing part of it. */
export const isMissing = (thrown: unknown): boolean => ['3F000', '42P01'].includes(sqlStateOf(thrown) ?? '')

function rendered(step: SchemaStep, schema: string): string {
  const name = quoted(schema)
  const before =
    step.version === 1
      ? `do $eventspine$ begin
  if to_regnamespace(${literal(name)}) is null then create schema ${name}; end if;
end $eventspine$;
create table ${name}.migrations (
  version        integer primary key,
  name           text not null,
  checksum       text not null,
  oldest_library integer not null,
  applied_at     timestamptz not null default now()
);
`
      : ''
  const values = [step.version, literal(step.name), literal(checksumOf(step)), step.oldestLibrary].join(', ')
  // Replaces in one pass and with a function, because the name may contain the placeholder, or `$`, which is special in
  // a replacement text.
  const body = step.sql.replaceAll(/'\{schema\}\.|\{schema\}/g, (place) =>
    place.startsWith("'") ? literal(`${name}.`).slice(0, -1) : name,
  )
  return `${before}${body.trimStart()}
insert into ${name}.migrations (version, name, checksum, oldest_library) values (${values});
`
}

function appliedStep([version, name, checksum, oldestLibrary]: Row): AppliedStep {
  return {
    version: numberOf(version),
    name: textOf(name),
    checksum: textOf(checksum),
    oldestLibrary: numberOf(oldestLibrary),
  }
}

const newest = (applied: readonly AppliedStep[]): number => applied.at(-1)?.version ?? 0

const checksumOf = ({ sql }: SchemaStep): string => createHash('sha256').update(sql).digest('hex')

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`

const remedy = (): string =>
  "Run its migrations: with the option migrate: 'run' and a role that may create tables, with stores.migrations.run(), " +
  'or with the SQL of postgresMigrationSql().'
