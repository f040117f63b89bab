import { sleep } from '../../kit/time.ts'
import type { DeadLetterStore, ReplayRequest, StoredDeadLetter } from '../../transport/transport.ts'
import type { BulkProgress, ResolvedBulkOptions } from './bulk-options.ts'
import type { DeadLetterFilter } from './dead-letter-filter.ts'
import type { LetterReader } from './describe-letter.ts'

/** With a rate, the changes of this time are made at once, in milliseconds. */
const BATCH_MS = 100
/** Time that a change which was late may catch up with, in milliseconds. */
const CATCH_UP_MS = 200

export interface BulkChange {
  readonly filter: DeadLetterFilter
  readonly options: ResolvedBulkOptions
  /** What is done with a dead letter that matches; undefined to leave it. */
  readonly verdict: (letter: StoredDeadLetter) => 'remove' | ReplayRequest | undefined
  /** Called with the dead letters of a batch, before they are changed. */
  readonly beforeBatch?: (letters: readonly StoredDeadLetter[]) => Promise<void>
}

/** Changes the dead letters that match, in one pass. Those that are added meanwhile are not changed. */
export async function changeAll(
  store: DeadLetterStore,
  reader: LetterReader,
  { filter, options, verdict, beforeBatch }: BulkChange,
): Promise<BulkProgress & { readonly failures: readonly Error[] }> {
  const { limit, dryRun, signal, onProgress } = options
  const pace = new Pace(options)
  const total = await store.count(filter.consumerGroup)
  let matched = 0
  let batch: StoredDeadLetter[] = []
  const visit = (letter: StoredDeadLetter) => {
    if (matched >= limit) return 'end'
    if (!reader.matches(letter, filter)) return 'keep'
    const chosen = verdict(letter)
    if (chosen === undefined) return 'keep'
    matched += 1
    if (dryRun) return 'keep'
    batch.push(letter)
    return chosen
  }
  const progressOf = ({ visited, replayed, removed, failures }: Awaited<ReturnType<typeof store.sweep>>) => ({
    scanned: visited,
    total,
    matched,
    changed: replayed + removed,
    failed: failures.length,
  })
  const report = await store.sweep(visit, {
    group: filter.consumerGroup,
    batchSize: pace.batchSize,
    signal,
    beforeBatch: async (size) => {
      await pace.wait(size, signal)
      const letters = batch
      batch = []
      if (!signal?.aborted) await beforeBatch?.(letters)
    },
    onProgress: async (current) => onProgress(progressOf(current)),
  })
  return { ...progressOf(report), failures: report.failures.map(({ error }) => error) }
}

/** Spreads changes evenly. */
class Pace {
  readonly batchSize: number
  readonly #msPerChange: number
  #nextAt = performance.now()

  constructor({ ratePerSecond, batchSize }: Pick<ResolvedBulkOptions, 'ratePerSecond' | 'batchSize'>) {
    this.#msPerChange = 1000 / ratePerSecond
    this.batchSize = Math.min(batchSize, Math.max(1, Math.floor((ratePerSecond * BATCH_MS) / 1000)))
  }

  async wait(size: number, signal: AbortSignal | undefined): Promise<void> {
    const earlyMs = this.#nextAt - performance.now()
    this.#nextAt = Math.max(this.#nextAt, performance.now() - CATCH_UP_MS) + size * this.#msPerChange
    if (earlyMs > 0) await sleep(earlyMs, ...(signal === undefined ? [] : [signal]))
  }
}
