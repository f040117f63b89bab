import { createHash } from 'node:crypto'
import { StoreSchemaError } from '../store/errors.ts'
import type { SqliteConnection } from './driver.ts'

interface Migration {
  readonly version: number
  readonly name: string
  readonly sql: string
}

/** The columns of an event, in the order of the table. */
const EVENT_COLUMNS = `
  event_id text not null unique,
  event_type text not null,
  event_version integer not null,
  aggregate_type text not null,
  aggregate_id text not null,
  aggregate_version integer not null,
  tenant_id text,
  correlation_id text not null,
  causation_id text,
  actor_id text,
  occurred_at text not null,
  stored_at integer not null,
  payload text not null,
  metadata text,
  key_id text,
  unique (aggregate_id, aggregate_type, aggregate_version)`

/**
 * A released migration never changes. Each change is a new migration, which removes no data. Without `autoincrement`,
 * SQLite would reuse the position of a deleted last row.
 */
const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'events, snapshots, checkpoints, leases, parked events',
    sql: `
create table eventspine_store (id text not null primary key) strict;
insert into eventspine_store (id) values (lower(hex(randomblob(16))));

create table eventspine_events (
  position integer primary key autoincrement,${EVENT_COLUMNS}
) strict;
create index eventspine_events_by_type on eventspine_events (event_type, position);
create index eventspine_events_by_aggregate_type on eventspine_events (aggregate_type, position);
create index eventspine_events_by_tenant on eventspine_events (tenant_id, position) where tenant_id is not null;
create index eventspine_events_by_correlation on eventspine_events (correlation_id, position);

create table eventspine_archive (
  position integer primary key,${EVENT_COLUMNS}
) strict;

create table eventspine_snapshots (
  aggregate_type text not null,
  aggregate_id text not null,
  version integer not null,
  schema_version integer not null,
  state text not null,
  taken_at integer not null,
  primary key (aggregate_type, aggregate_id)
) strict, without rowid;

create table eventspine_checkpoints (
  name text not null primary key,
  position integer not null,
  store_id text,
  event_id text,
  fence integer,
  saved_at integer not null
) strict, without rowid;

create table eventspine_leases (
  name text not null primary key,
  owner text not null,
  fence integer not null,
  expires_at integer not null
) strict, without rowid;

create table eventspine_parked_events (
  subscription text not null,
  position integer not null,
  handler_names text not null,
  error_name text not null,
  error_message text not null,
  attempts integer not null,
  first_failed_at integer not null,
  failed_at integer not null,
  event text not null,
  primary key (subscription, position)
) strict, without rowid;
create index eventspine_parked_events_by_time on eventspine_parked_events (failed_at);
`,
  },
  {
    version: 2,
    name: 'inbox and outbox',
    sql: `
create table eventspine_inbox (
  handler text not null,
  event_id text not null,
  noted_at integer not null,
  primary key (handler, event_id)
) strict, without rowid;
create index eventspine_inbox_by_time on eventspine_inbox (noted_at);

create table eventspine_outbox (
  position integer primary key autoincrement,
  event_id text not null,
  event_type text not null,
  event_version integer not null,
  aggregate_type text not null,
  aggregate_id text not null,
  aggregate_version integer not null,
  tenant_id text,
  correlation_id text not null,
  causation_id text,
  actor_id text,
  occurred_at text not null,
  stored_at integer not null,
  payload text not null,
  metadata text
) strict;

create table eventspine_outbox_relays (
  name text not null primary key,
  position integer not null,
  store_id text,
  event_id text,
  fence integer,
  saved_at integer not null
) strict, without rowid;
`,
  },
  {
    version: 3,
    name: 'stacks of parked events',
    sql: 'alter table eventspine_parked_events add column error_stack text;',
  },
]

/** Version of the schema that this release needs. */
export const SCHEMA_VERSION = MIGRATIONS.at(-1)?.version ?? 0

const MIGRATIONS_TABLE = `create table if not exists eventspine_migrations (
  version integer not null primary key,
  name text not null,
  checksum text not null,
  applied_at integer not null
) strict;`

/**
 * Returns the SQL that migrates a file from a schema version to the current one. Use it to review the migration, or to
 * run it with your own tools.
 */
export function sqliteMigrationSql(fromVersion = 0): string {
  const steps = MIGRATIONS.filter(({ version }) => version > fromVersion).map(
    (migration) =>
      `-- version ${migration.version}: ${migration.name}\nbegin immediate;\n${migration.sql.trim()}\n${noteOf(migration)}\ncommit;\n`,
  )
  return [MIGRATIONS_TABLE, ...steps].join('\n\n')
}

/** @returns 0 for a file without the stores' tables. */
export function schemaVersion(db: SqliteConnection): number {
  const table = db.prepare(
    "select 1 from sqlite_schema where type = 'table' and name = 'eventspine_migrations'",
  )
  if (table.get() === undefined) return 0
  const row = db.prepare('select max(version) as version from eventspine_migrations').get()
  return Number(Reflect.get(Object(row), 'version') ?? 0)
}

/** @throws StoreSchemaError if the file does not have the version that this release needs. */
export function checkSchema(db: SqliteConnection, file: string): void {
  const version = schemaVersion(db)
  if (version === SCHEMA_VERSION) return
  throw new StoreSchemaError(
    file,
    version,
    SCHEMA_VERSION,
    version > SCHEMA_VERSION
      ? 'Update eventspine to the release that wrote it.'
      : "Open it once with migrate: 'run', or run what sqliteMigrationSql() returns.",
  )
}

/**
 * Migrates a file to the current schema, with one transaction per migration, under SQLite's write lock. If two processes
 * start at once, one migrates and the other has nothing left to do.
 *
 * @throws StoreSchemaError if the file is newer.
 */
export function migrate(db: SqliteConnection, file: string): void {
  if (schemaVersion(db) === SCHEMA_VERSION) return
  inTransaction(db, () => db.exec(MIGRATIONS_TABLE))
  for (const migration of MIGRATIONS) {
    inTransaction(db, () => {
      if (schemaVersion(db) >= migration.version) return
      db.exec(migration.sql)
      db.exec(noteOf(migration))
    })
  }
  checkSchema(db, file)
}

/**
 * The statement that records a migration. It is part of the migration's transaction, even if another tool runs the
 * migration.
 */
function noteOf({ version, name, sql }: Migration): string {
  const checksum = createHash('sha256').update(sql).digest('hex')
  return `insert into eventspine_migrations (version, name, checksum, applied_at) values (${version}, '${name}', '${checksum}', unixepoch() * 1000);`
}

function inTransaction(db: SqliteConnection, work: () => void): void {
  db.exec('begin immediate')
  try {
    work()
    db.exec('commit')
  } catch (error) {
    db.exec('rollback')
    throw error
  }
}
