import type { EventFilter } from '../../browsing/index.ts'
import type { EventBus } from '../../bus/index.ts'
import { HttpError } from '../http-error.ts'
import type { Masker } from '../mask.ts'
import type { StateKey } from '../state.ts'
import { LiveReader } from './live-reader.ts'
import { LiveViewer } from './live-viewer.ts'

/** Most streams of a handler. */
const MAX_VIEWERS = 50

export interface LiveQuery {
  readonly name: string
  readonly bus: EventBus
  readonly filter: EventFilter
  /** The line of the filter, which identifies it. */
  readonly line: string
  readonly mask: Masker
  readonly mayRead: boolean
}

/** The readers of a handler: one for each bus and filter that has viewers. */
export class LiveReaders {
  static readonly key: StateKey<LiveReaders> = { create: ({ closed }) => new LiveReaders(closed) }

  readonly #closed: AbortSignal
  readonly #readers = new Map<string, LiveReader>()

  private constructor(closed: AbortSignal) {
    this.#closed = closed
    closed.addEventListener('abort', () => {
      for (const reader of [...this.#readers.values()]) reader.stop()
    })
  }

  /** The stream for one viewer. @throws HttpError 503 if there are too many. */
  watch({ name, bus, filter, line, mask, mayRead }: LiveQuery): LiveViewer {
    this.#closed.throwIfAborted()
    const viewers = [...this.#readers.values()].reduce((sum, reader) => sum + reader.viewers.size, 0)
    if (viewers >= MAX_VIEWERS) {
      throw new HttpError(503, `${MAX_VIEWERS} people look at live events. Try again when one has left.`)
    }
    const key = JSON.stringify([name, line])
    const reader = this.#readers.get(key) ?? new LiveReader({ bus, filter, mask })
    this.#readers.set(key, reader)
    const viewer = new LiveViewer(mayRead, (gone) => {
      reader.viewers.delete(gone)
      if (reader.viewers.size > 0) return
      if (this.#readers.get(key) === reader) this.#readers.delete(key)
      reader.stop()
    })
    reader.viewers.add(viewer)
    return viewer
  }
}
