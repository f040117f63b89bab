import { AsyncLocalStorage } from 'node:async_hooks'
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { StoreClosedError, StoreUnavailableError, TransactionBypassError } from '../store/index.ts'
import { errorOf } from './errors.ts'
import { InlineExecutor, type SqliteExecutor, threadFile, WorkerExecutor } from './executor.ts'
import { connect, openFile } from './file.ts'
import { FileTurns } from './file-turns.ts'
import type { ResolvedSqliteOptions } from './options.ts'
import type { SqliteStatements } from './statements.ts'
import { TurnBudget } from './turn-budget.ts'
import { SqliteWriteQueue } from './write-queue.ts'
import { rollBack } from './writer.ts'
import type { ArgumentsOf, ResultOf, Write, WriteName } from './writes.ts'

/** Number of user transactions after which the log is copied into the file. */
const CHECKPOINT_EVERY_TRANSACTIONS = 200

interface OpenDatabase {
  readonly reader: SqliteStatements
  readonly executor: SqliteExecutor
  readonly queue: SqliteWriteQueue
  /** Identifies the file on its disk. */
  readonly inode: number
}

/** One file, with a connection for reads, one for writes, and one for user transactions. Each opens when first used. */
export class SqliteDatabase {
  readonly #options: ResolvedSqliteOptions
  readonly #onCommitted: (writes: readonly Write[], results: readonly unknown[]) => void
  readonly #inside = new AsyncLocalStorage<{ isOpen: boolean }>()
  readonly #turns = new TurnBudget()
  #opening: Promise<OpenDatabase> | undefined
  #opened: OpenDatabase | undefined
  #forUsers: SqliteStatements | undefined
  #transactions = 0
  #closing: Promise<void> | undefined

  constructor(
    options: ResolvedSqliteOptions,
    onCommitted: (writes: readonly Write[], results: readonly unknown[]) => void,
  ) {
    this.#options = options
    this.#onCommitted = onCommitted
  }

  /** The connection for reads; undefined until the file is open. */
  get reader(): SqliteStatements | undefined {
    return this.#opened?.reader
  }

  /** Opens the file. A failed call can be repeated. */
  async open(): Promise<OpenDatabase> {
    if (this.#closing !== undefined) throw new StoreClosedError(this.#options.file)
    if (this.#opened !== undefined) return this.#opened
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  readonly read = async <T>(read: (db: SqliteStatements) => T): Promise<T> => {
    const { reader, queue } = await this.open()
    const result = await queue.patiently(() => this.#turns.run(() => read(reader)))
    await this.#turns.pause()
    return result
  }

  readonly write = async <N extends WriteName>(
    name: N,
    args: ArgumentsOf<N>,
    characters?: number,
  ): Promise<ResultOf<N>> => {
    if (this.#inside.getStore()?.isOpen) throw new TransactionBypassError(name)
    const { queue } = await this.open()
    return queue.write(name, args, characters)
  }

  /** Runs work in a transaction on the connection for user transactions. Commits if the work resolves. */
  async transaction<T>(work: (db: SqliteStatements) => Promise<T>): Promise<T> {
    if (this.#inside.getStore()?.isOpen) throw new TransactionBypassError('transaction')
    const { queue, executor } = await this.open()
    const result = await queue.exclusively((patienceMs) => this.#transact(queue, work, patienceMs))
    this.#transactions += 1
    if (this.#transactions % CHECKPOINT_EVERY_TRANSACTIONS === 0) await executor.checkpoint()
    return result
  }

  /** @throws StoreUnavailableError if the file was removed or replaced after it was opened. */
  assertInPlace(): void {
    if (this.#opened === undefined || inodeOf(this.#options.file) === this.#opened.inode) return
    throw new StoreUnavailableError(
      this.#options.file,
      'the file was removed or replaced while it was open. Close the stores and open them again.',
    )
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #open(): Promise<OpenDatabase> {
    const { file, driver, durability, migrate, allowNetworkFile, worker, checkIntegrity, busyTimeoutMs } =
      this.#options
    const fileOptions = { file, driver, durability, migrate, allowNetworkFile }
    // Until the file is open, only the queue's retries are used.
    const thread = worker ? threadFile() : undefined
    const executor = thread ? new WorkerExecutor(thread, fileOptions) : new InlineExecutor(fileOptions)
    if (worker && thread === undefined) this.#warnOfBundle()
    // Two paths of one file are two queues, whose writers retry as those of two processes do.
    const turns = new FileTurns(resolve(file))
    const queue = new SqliteWriteQueue({
      executor,
      file,
      turns,
      busyTimeoutMs,
      onCommitted: this.#onCommitted,
    })
    const reader = await queue.patiently(() => openFile(fileOptions))
    if (checkIntegrity) {
      const answer = await executor.check()
      if ('failure' in answer) {
        reader.connection.close()
        await executor.close()
        throw errorOf(answer.failure, file, busyTimeoutMs)
      }
    }
    this.#opened = { reader, executor, queue, inode: inodeOf(file) }
    return this.#opened
  }

  #warnOfBundle(): void {
    const { file, logger } = this.#options
    resolveLogger(logger).warn(
      'the worker thread is not part of this bundle, writes run on the main thread; keep eventspine external to the bundle',
      { file },
    )
  }

  async #transact<T>(
    queue: SqliteWriteQueue,
    work: (db: SqliteStatements) => Promise<T>,
    patienceMs: number,
  ): Promise<T> {
    this.#forUsers ??= this.#openForUsers()
    const db = this.#forUsers
    await queue.patiently(() => db.connection.exec('begin immediate'), patienceMs)
    const inside = { isOpen: true }
    try {
      const result = await this.#inside.run(inside, () => work(db))
      inside.isOpen = false
      await queue.patiently(() => db.connection.exec('commit'))
      return result
    } catch (thrown) {
      rollBack(db)
      throw thrown
    } finally {
      inside.isOpen = false
    }
  }

  /** User transactions leave copying the log to the worker's connection, which does not block the event loop. */
  #openForUsers(): SqliteStatements {
    const db = connect(this.#options)
    if (this.#options.worker) db.connection.exec('pragma wal_autocheckpoint = 0')
    return db
  }

  async #close(): Promise<void> {
    await this.#opening?.catch(() => undefined)
    if (this.#opened === undefined) return
    const { reader, executor, queue } = this.#opened
    await queue.idle()
    await executor.close()
    this.#forUsers?.connection.close()
    reader.connection.close()
    this.#opened = undefined
  }
}

/** @returns 0 if there is no such file. */
function inodeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.ino ?? 0
}
