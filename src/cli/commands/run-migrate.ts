import { resolve } from 'node:path'
import { StoreSchemaError } from '../../store/index.ts'
import { EXIT, type ExitCode } from '../exit-code.ts'
import { existingFile, fileOf, isSqlite, openPostgres } from '../open-stores.ts'
import type { StoreTarget } from '../target.ts'
import type { Terminal } from '../terminal.ts'

/** The SQL of the migrations, without a connection. */
export async function sqlOf(target: StoreTarget, after: number): Promise<string> {
  if (isSqlite(target)) return (await import('../../sqlite/index.ts')).sqliteMigrationSql(after)
  const schema = target.schema === undefined ? {} : { schema: target.schema }
  return (await import('../../postgres/index.ts')).postgresMigrationSql({ ...schema, after })
}

/** Runs the missing migrations. */
export async function migrateStore(
  target: StoreTarget,
  isJson: boolean,
  terminal: Terminal,
): Promise<ExitCode> {
  if (isSqlite(target)) await readySqlite(target, 'run', terminal)
  else {
    await using stores = await openPostgres(target)
    const missing = (await stores.migrations.list()).filter(({ isApplied }) => !isApplied)
    await stores.migrations.run()
    for (const { version, name } of missing) terminal.err(`ran migration ${version}: ${name}`)
  }
  if (isJson) await terminal.out(JSON.stringify({ version: 1, isCurrent: true }))
  else terminal.err('the schema is that of this release')
  return EXIT.done
}

/** Changes nothing. */
export async function checkStore(
  target: StoreTarget,
  isJson: boolean,
  terminal: Terminal,
): Promise<ExitCode> {
  try {
    if (isSqlite(target)) await readySqlite(target, 'check', terminal)
    else {
      await using stores = await openPostgres(target)
      await stores.migrations.check()
    }
  } catch (thrown) {
    if (!(thrown instanceof StoreSchemaError)) throw thrown
    const { found, needed, message } = thrown
    if (isJson) await terminal.out(JSON.stringify({ version: 1, isCurrent: false, found, needed }))
    terminal.err(message)
    return EXIT.checkFailed
  }
  if (isJson) await terminal.out(JSON.stringify({ version: 1, isCurrent: true }))
  else terminal.err('the schema is that of this release')
  return EXIT.done
}

async function readySqlite(target: StoreTarget, migrate: 'run' | 'check', terminal: Terminal): Promise<void> {
  const file =
    migrate === 'check'
      ? await existingFile(target, terminal)
      : resolve(terminal.workingDirectory, fileOf(target))
  const { SqliteStores } = await import('../../sqlite/index.ts')
  await using stores = new SqliteStores({ file, migrate })
  await stores.ready()
}
