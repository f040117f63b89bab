import { existsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { SQLITE_IOERR } from './errors.ts'
import type { SqliteFileOptions } from './file.ts'
import { connect } from './file.ts'
import type { SqliteStatements } from './statements.ts'
import type { ThreadMessage, ThreadRequest } from './thread.ts'
import { checkFile, checkpointLog, runBatch, type WriterAnswer } from './writer.ts'
import type { Write } from './writes.ts'

/** Runs the writes of a file, one batch at a time. It never rejects: a failure is part of the answer. */
export interface SqliteExecutor {
  run(batch: readonly Write[]): WriterAnswer | Promise<WriterAnswer>
  /** Copies the log into the file. */
  checkpoint(): WriterAnswer | Promise<WriterAnswer>
  /** Checks the whole file for damage. */
  check(): WriterAnswer | Promise<WriterAnswer>
  close(): Promise<void>
}

/** Runs writes on the calling thread, which blocks until the disk answers. */
export class InlineExecutor implements SqliteExecutor {
  readonly #options: SqliteFileOptions
  #opened: SqliteStatements | undefined

  constructor(options: SqliteFileOptions) {
    this.#options = options
  }

  get #db(): SqliteStatements {
    this.#opened ??= connect(this.#options)
    return this.#opened
  }

  run(batch: readonly Write[]): WriterAnswer {
    return runBatch(this.#db, batch)
  }

  checkpoint(): WriterAnswer {
    checkpointLog(this.#db)
    return { results: [] }
  }

  check(): WriterAnswer {
    return checkFile(this.#db)
  }

  async close(): Promise<void> {
    this.#opened?.connection.close()
  }
}

/** The file of the worker thread; undefined inside a bundle, which does not contain it. */
export function threadFile(): URL | undefined {
  // Undefined in a bundle that is CommonJS.
  const here: string | undefined = import.meta.url
  if (here?.startsWith('file:') !== true) return undefined
  // In the package, this code is in a file of dist/sqlite/ or dist/parts/.
  const file = new URL(here.endsWith('.ts') ? './thread.ts' : '../sqlite/thread.js', here)
  return existsSync(file) ? file : undefined
}

/** The answer for requests to a thread that has ended. Their writes may be stored. */
const ENDED: WriterAnswer = {
  failure: { code: SQLITE_IOERR, message: 'the worker thread ended', isAtCommit: true },
}

/** Runs writes in a worker thread, so that the event loop never waits for the disk. */
export class WorkerExecutor implements SqliteExecutor {
  readonly #file: URL
  readonly #options: SqliteFileOptions
  readonly #waiting = new Map<number, (answer: WriterAnswer) => void>()
  #worker: Worker | undefined
  #lastId = 0

  /** @param file - the program of the thread. */
  constructor(file: URL, options: SqliteFileOptions) {
    this.#file = file
    this.#options = options
  }

  run(batch: readonly Write[]): Promise<WriterAnswer> {
    return this.#ask({ kind: 'run', batch })
  }

  checkpoint(): Promise<WriterAnswer> {
    return this.#ask({ kind: 'checkpoint' })
  }

  check(): Promise<WriterAnswer> {
    return this.#ask({ kind: 'check' })
  }

  async close(): Promise<void> {
    if (this.#worker === undefined) return
    await this.#ask({ kind: 'close' })
    await this.#worker?.terminate()
  }

  #ask(request: ThreadRequest): Promise<WriterAnswer> {
    this.#worker ??= this.#start()
    const worker = this.#worker
    const { promise, resolve } = Promise.withResolvers<WriterAnswer>()
    this.#lastId += 1
    this.#waiting.set(this.#lastId, resolve)
    // The thread keeps the process alive only while a request is in flight.
    worker.ref()
    worker.postMessage({ id: this.#lastId, body: request } satisfies ThreadMessage<ThreadRequest>)
    return promise
  }

  #start(): Worker {
    const worker = new Worker(this.#file, {
      workerData: this.#options,
      name: 'eventspine sqlite',
    })
    worker.on('message', ({ id, body }: ThreadMessage<WriterAnswer>) => this.#answer(id, body))
    // The next request starts a new thread. The exit event that follows the error answers the requests in flight.
    worker.on('error', () => undefined)
    worker.on('exit', () => this.#ended(worker))
    return worker
  }

  #answer(id: number, answer: WriterAnswer): void {
    this.#waiting.get(id)?.(answer)
    this.#waiting.delete(id)
    if (this.#waiting.size === 0) this.#worker?.unref()
  }

  #ended(worker: Worker): void {
    if (this.#worker === worker) this.#worker = undefined
    for (const id of [...this.#waiting.keys()]) this.#answer(id, ENDED)
  }
}
