import type { DeadLetterStore, StoredDeadLetter } from '../../transport/transport.ts'
import { importedLetter } from './exported-letter.ts'
import { READ_ONLY } from './queue-options.ts'

/** The name of the call, in its errors and in the audit. */
export const IMPORT = 'deadLetters.import'

interface Import {
  readonly store: DeadLetterStore
  /** The group of dead letters without one. */
  readonly group: string
  readonly letters: Iterable<unknown> | AsyncIterable<unknown>
  readonly signal: AbortSignal | undefined
  /** Called with the number of stored dead letters after each batch. */
  readonly changed: (count: number) => void
}

/**
 * Stores exported dead letters in batches.
 * @returns their number.
 * @throws ConfigError at the first that is not an exported dead letter; those before it are stored.
 */
export async function importLetters({ store, group, letters, signal, changed }: Import): Promise<number> {
  let count = 0
  let batch: Omit<StoredDeadLetter, 'id'>[] = []
  const flush = async () => {
    await Promise.all(batch.map((letter) => store.append(letter, group)))
    count += batch.length
    batch = []
    changed(count)
  }
  try {
    for await (const value of letters) {
      if (signal?.aborted) break
      batch.push(importedLetter(IMPORT, value, `dead letter ${count + batch.length + 1}`))
      if (batch.length === READ_ONLY.batchSize) await flush()
    }
  } finally {
    await flush()
  }
  return count
}
