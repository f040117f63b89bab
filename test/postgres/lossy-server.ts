import { existsSync } from 'node:fs'
import { mkdtemp, rename, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Broker } from '../brokers/broker.ts'
import { dataFolder } from '../brokers/data-folder.ts'
import { freePort } from '../brokers/free-port.ts'
import { NativeHost } from '../brokers/native-host.ts'
import { postgresCommand } from '../brokers/native-postgres.ts'
import { run } from '../brokers/run.ts'
import { LossyDisk } from '../support/lossy-disk.ts'
import { connected } from './postgres-scene.ts'

/** Only a checkpoint syncs the tables. Without one, a power cut takes all that was written to them. */
const CONFIG = [
  'fsync = on',
  'wal_sync_method = fdatasync',
  'checkpoint_timeout = 1h',
  'max_wal_size = 2GB',
  'autovacuum = off',
  // The log is synced by commits alone.
  'wal_writer_delay = 10s',
]

/** A server whose disk loses at a power cut what was not synced. */
export class LossyServer implements AsyncDisposable {
  readonly #server: Broker<'postgres'>
  readonly #disk: LossyDisk
  readonly #data: string
  /** The files of the server as of the last checkpoint, without the log. */
  readonly #synced: string

  static async launch(): Promise<LossyServer> {
    const folder = await mkdtemp(join(dataFolder, 'eventspine-postgres-'))
    const port = await freePort()
    const { user, toolFolder = '', ...command } = await postgresCommand(folder, port, { config: CONFIG })
    const data = join(folder, 'data')
    const disk = await LossyDisk.create()
    if (user !== undefined) disk.giveTo(user)
    // Each sync copies a file of the log, so the files are small. The programs from Maven Central do not include pg_resetwal.
    const resetWal = join(toolFolder, 'pg_resetwal')
    if (existsSync(resetWal)) await run(resetWal, ['--wal-segsize=1', '-D', data], {}, user)
    await rename(join(data, 'pg_wal'), disk.folder)
    await symlink(disk.folder, join(data, 'pg_wal'))
    const host = new NativeHost({ ...command, toolFolder, env: disk.env, ...(user && { user }) })
    const lossy = new LossyServer(new Broker('postgres', port, host), disk, folder)
    await lossy.#start()
    return lossy
  }

  private constructor(server: Broker<'postgres'>, disk: LossyDisk, folder: string) {
    this.#server = server
    this.#disk = disk
    this.#data = join(folder, 'data')
    this.#synced = join(folder, 'synced')
  }

  get url(): string {
    return this.#server.url
  }

  /**
   * Cuts the power, and starts the server again.
   * @param written - the share of the sectors of the log that were written although nothing had synced them.
   * @param whileDown - called before the server starts.
   */
  async cutPower(written: number, whileDown: () => Promise<unknown>): Promise<void> {
    await this.#server.kill()
    this.#disk.cut(written)
    await whileDown()
    await replace(this.#synced, this.#data)
    await this.#start()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.dispose()
    this.#disk[Symbol.dispose]()
  }

  /** Starts the server, and makes everything safe that it has. */
  async #start(): Promise<void> {
    await this.#server.start()
    await using client = await connected(this.url)
    await client.query('checkpoint')
    await replace(this.#data, this.#synced)
    await rm(join(this.#synced, 'postmaster.pid'))
    this.#disk.sync()
  }
}

async function replace(source: string, target: string): Promise<void> {
  await rm(target, { recursive: true, force: true })
  await run('cp', ['-a', source, target])
}
