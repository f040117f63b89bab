// The worker thread of a SqliteStores. It waits for the disk, so that the event loop does not have to.
import { parentPort, workerData } from 'node:worker_threads'
import { failureOf } from './errors.ts'
import { connect, type SqliteFileOptions } from './file.ts'
import type { SqliteStatements } from './statements.ts'
import { checkFile, checkpointLog, runBatch, type WriterAnswer } from './writer.ts'
import type { Write } from './writes.ts'

/** A request to the thread. */
export type ThreadRequest =
  | { readonly kind: 'run'; readonly batch: readonly Write[] }
  | { readonly kind: 'checkpoint' | 'check' | 'close' }

export interface ThreadMessage<T> {
  readonly id: number
  readonly body: T
}

const options = workerData as SqliteFileOptions // what SqliteWorker passes
let db: SqliteStatements | undefined

parentPort?.on('message', ({ id, body }: ThreadMessage<ThreadRequest>) => {
  parentPort?.postMessage({ id, body: answer(body) } satisfies ThreadMessage<WriterAnswer>)
})

function answer(request: ThreadRequest): WriterAnswer {
  try {
    db ??= connect(options)
    if (request.kind === 'run') return runBatch(db, request.batch)
    if (request.kind === 'check') return checkFile(db)
    if (request.kind === 'checkpoint') checkpointLog(db)
    else db.connection.close()
    return { results: [] }
  } catch (thrown) {
    return { failure: failureOf(thrown) }
  }
}
