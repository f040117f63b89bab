import type { DeadLetterStore } from '../../transport/transport.ts'
import type { DeadLetterFilter } from './dead-letter-filter.ts'
import type { LetterReader } from './describe-letter.ts'
import { type ExportedLetter, exportedLetter } from './exported-letter.ts'
import { Handoff } from './handoff.ts'
import { READ_ONLY } from './queue-options.ts'

interface Export {
  readonly store: DeadLetterStore
  readonly reader: LetterReader
  readonly filter: DeadLetterFilter
  readonly signal: AbortSignal | undefined
}

/** Reads the dead letters that match while the caller takes them. The reading ends when the caller stops early. */
export async function* exportLetters({
  store,
  reader,
  filter,
  signal,
}: Export): AsyncGenerator<ExportedLetter, void> {
  const stop = new AbortController()
  const page = new Handoff<ExportedLetter>()
  const sweep = store
    .sweep(
      (letter) => {
        if (reader.matches(letter, filter)) page.add(exportedLetter(letter))
        return 'keep'
      },
      {
        ...READ_ONLY,
        group: filter.consumerGroup,
        onProgress: () => page.taken(),
        signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]),
      },
    )
    .finally(() => page.end())
  try {
    yield* page.items()
    await sweep
  } finally {
    stop.abort()
    page.end()
    await sweep.catch(() => undefined)
  }
}
