import { mkdirSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { openConnection, type SqliteDriver } from './driver.ts'
import { SqliteNetworkFileError } from './errors.ts'
import { checkSchema, migrate } from './schema.ts'
import { SqliteStatements } from './statements.ts'

/** Options for opening a file. Plain data, because a worker thread also opens the file. */
export interface SqliteFileOptions {
  readonly file: string
  readonly driver: SqliteDriver
  readonly durability: 'full' | 'normal'
  readonly migrate: 'run' | 'check' | 'off'
  readonly allowNetworkFile: boolean
}

/**
 * Opens a file as its first connection: creates it, checks it and migrates its schema. Fails as busy while another
 * process does the same. In that case, repeat the call.
 *
 * @throws SqliteNetworkFileError, StoreSchemaError, and the driver's error.
 */
export function openFile(options: SqliteFileOptions): SqliteStatements {
  const { file, allowNetworkFile, migrate: migration } = options
  if (migration === 'run') mkdirSync(dirname(file), { recursive: true })
  const network = networkOf(dirname(file))
  if (network !== undefined && !allowNetworkFile) throw new SqliteNetworkFileError(file, network)
  const db = connect(options)
  try {
    const { connection } = db
    const mode = db.get('pragma journal_mode = wal')?.['journal_mode']
    if (mode !== 'wal') throw new SqliteNetworkFileError(file, `a file system without WAL (mode ${mode})`)
    if (migration === 'run') migrate(connection, file)
    else if (migration === 'check') checkSchema(connection, file)
    return db
  } catch (error) {
    db.connection.close()
    throw error
  }
}

/**
 * Number of pages of the log after which a commit copies the log into the file: 16 MB. Each event with a random id
 * changes a page of an index, so with a short log the same pages are copied many times.
 */
const LOG_PAGES = 4000

/**
 * Opens a further connection to a file that is already open. The connection never waits for a lock; its owner retries
 * without blocking.
 */
export function connect({ file, driver, durability }: SqliteFileOptions): SqliteStatements {
  const connection = openConnection(driver, file)
  connection.exec(
    `pragma synchronous = ${durability}; pragma busy_timeout = 0; pragma foreign_keys = on; ` +
      `pragma wal_autocheckpoint = ${LOG_PAGES}`,
  )
  return new SqliteStatements(connection)
}

/** Network file systems, on which the locks and the shared memory of SQLite's WAL mode do not work between machines. */
const NETWORKS: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB'],
  [0x5346414f, 'AFS'],
  [0x65735546, 'FUSE'],
  [0x01021997, 'a 9p share'],
  [0x00c36400, 'Ceph'],
])

/** @returns the name of the network file system that has the folder; undefined on a local one. */
function networkOf(folder: string): string | undefined {
  return NETWORKS.get(statfsSync(folder).type >>> 0)
}
