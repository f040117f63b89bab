import { setTimeout as delay } from 'node:timers/promises'
import { toError } from '../errors.ts'
import { errorOf, failureOf, isAboutFile, SQLITE_BUSY, type SqliteFailure } from './errors.ts'
import type { SqliteExecutor } from './executor.ts'
import type { FileTurns } from './file-turns.ts'
import { TurnBudget } from './turn-budget.ts'
import type { WriterAnswer } from './writer.ts'
import type { ArgumentsOf, ResultOf, Write, WriteName } from './writes.ts'

/** Limits for writes in one transaction: number, and size of the arguments. */
const MAX_BATCH = 500
const MAX_BATCH_CHARACTERS = 1024 * 1024

/** Maximum delay between two attempts to get the lock, in milliseconds. */
const MAX_BUSY_DELAY_MS = 20

interface WriteJob extends Write {
  readonly characters: number
  readonly settle: (answer: { readonly result: unknown } | { readonly error: Error }) => void
}

interface ExclusiveJob {
  readonly run: (patienceMs: number) => Promise<void>
}

export interface WriteQueueParts {
  readonly executor: SqliteExecutor
  readonly file: string
  readonly turns: FileTurns
  readonly busyTimeoutMs: number
  /** Called after a commit, with the writes and their results. */
  readonly onCommitted: (writes: readonly Write[], results: readonly unknown[]) => void
}

/**
 * The writes of one process, in the order of the calls. Writes that arrive while a transaction is in progress share the
 * next one; a single write starts at once.
 */
export class SqliteWriteQueue {
  readonly #parts: WriteQueueParts
  #jobs: (WriteJob | ExclusiveJob)[] = []
  #draining: Promise<void> | undefined
  readonly #turns = new TurnBudget()

  constructor(parts: WriteQueueParts) {
    this.#parts = parts
  }

  /** @param characters - the approximate size of the arguments. */
  async write<N extends WriteName>(name: N, args: ArgumentsOf<N>, characters = 0): Promise<ResultOf<N>> {
    const { promise, resolve, reject } = Promise.withResolvers<ResultOf<N>>()
    this.#add({
      ...{ name, args, characters },
      settle: (answer) => {
        if ('error' in answer) reject(answer.error)
        // The result of the write with this name.
        else resolve(answer.result as ResultOf<N>)
      },
    })
    return promise
  }

  /** Runs work while no other write of this process runs. @param work - gets the time to wait for other processes. */
  exclusively<T>(work: (patienceMs: number) => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    this.#add({ run: (patienceMs) => work(patienceMs).then(resolve, reject) })
    return promise
  }

  /** Retries while another process holds the lock. @throws the last error. */
  async patiently<T>(attempt: () => T, patienceMs = this.#parts.busyTimeoutMs): Promise<T> {
    const { file, busyTimeoutMs } = this.#parts
    const patience = new Patience(patienceMs)
    for (;;) {
      try {
        return attempt()
      } catch (thrown) {
        const failure = failureOf(thrown)
        if (failure.code === 0) throw thrown
        if (!(await patience.outlasts(failure))) throw errorOf(failure, file, busyTimeoutMs, toError(thrown))
      }
    }
  }

  /** Resolves when the queue is empty. */
  async idle(): Promise<void> {
    while (this.#draining !== undefined) await this.#draining
  }

  #add(job: WriteJob | ExclusiveJob): void {
    this.#jobs.push(job)
    this.#draining ??= this.#drain()
  }

  async #drain(): Promise<void> {
    // Writes of the same turn share one transaction.
    await Promise.resolve()
    const { turns, busyTimeoutMs } = this.#parts
    while (this.#jobs.length > 0) {
      const taken = turns.take(busyTimeoutMs)
      const end = taken instanceof Promise ? await taken : taken
      try {
        // Without a turn, the whole time to wait has passed.
        await this.#runNext(end === undefined ? 0 : busyTimeoutMs)
      } finally {
        end?.()
      }
      await this.#turns.pause()
    }
    this.#draining = undefined
  }

  async #runNext(patienceMs: number): Promise<void> {
    const [next] = this.#jobs
    if (next !== undefined && 'run' in next) {
      this.#jobs.shift()
      await next.run(patienceMs)
    } else await this.#runTogether(this.#takeBatch(), patienceMs)
  }

  #takeBatch(): readonly WriteJob[] {
    let characters = 0
    const batch: WriteJob[] = []
    for (const job of this.#jobs) {
      if ('run' in job || batch.length === MAX_BATCH) break
      characters += job.characters
      if (batch.length > 0 && characters > MAX_BATCH_CHARACTERS) break
      batch.push(job)
    }
    this.#jobs = this.#jobs.slice(batch.length)
    return batch
  }

  async #runTogether(batch: readonly WriteJob[], patienceMs: number): Promise<void> {
    const answer = await this.#runPatiently(batch, patienceMs)
    if ('results' in answer) {
      for (const [index, { settle }] of batch.entries()) settle({ result: answer.results[index] })
      this.#parts.onCommitted(batch, answer.results)
    } else if (batch.length > 1 && !isAboutFile(answer.failure)) {
      // One of the writes has caused the failure, and the others must not fail because of it.
      for (const job of batch) await this.#runTogether([job], patienceMs)
    } else for (const { settle } of batch) settle({ error: this.#errorOf(answer.failure) })
  }

  async #runPatiently(batch: readonly WriteJob[], patienceMs: number): Promise<WriterAnswer> {
    const { executor } = this.#parts
    const writes = batch.map(({ name, args }) => ({ name, args }))
    const patience = new Patience(patienceMs)
    for (;;) {
      const answer = await this.#turns.run(() => executor.run(writes))
      if ('results' in answer || !(await patience.outlasts(answer.failure))) return answer
    }
  }

  #errorOf(failure: SqliteFailure): Error {
    return errorOf(failure, this.#parts.file, this.#parts.busyTimeoutMs)
  }
}

/** Delays retries while another process holds the lock, for at most a time since the first refusal. */
class Patience {
  readonly #limitMs: number
  #busySince: number | undefined
  #tries = 0

  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  /** Waits before a retry. @returns false if waiting cannot help, or the deadline has passed. */
  async outlasts({ code }: SqliteFailure): Promise<boolean> {
    const now = performance.now()
    this.#busySince ??= now
    if (code !== SQLITE_BUSY || now - this.#busySince >= this.#limitMs) return false
    this.#tries += 1
    // Random, so that no process always loses.
    await delay(Math.random() * Math.min(MAX_BUSY_DELAY_MS, this.#tries))
    return true
  }
}
