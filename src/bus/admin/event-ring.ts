import type { DomainEvent } from '../../events/index.ts'

/** An event, and the number of events before it. */
export interface KeptEvent {
  readonly event: DomainEvent
  readonly place: number
  /** Milliseconds since 1970. */
  readonly at: number
}

/** The last events of a bus in memory. */
export class EventRing {
  readonly #size: number
  readonly #events: KeptEvent[] = []
  readonly #listeners = new Set<() => void>()
  #added = 0

  constructor(size: number) {
    this.#size = size
  }

  /** The number of events that were ever added. */
  get added(): number {
    return this.#added
  }

  add(events: readonly DomainEvent[]): void {
    const at = Date.now()
    for (const event of events) {
      this.#events.push({ event, at, place: this.#added })
      this.#added += 1
    }
    // Removing one event at a time would move the others each time.
    if (this.#events.length >= 2 * this.#size) this.#events.splice(0, this.#events.length - this.#size)
    for (const listener of this.#listeners) listener()
  }

  /** The last events, from a place on. */
  from(place: number): readonly KeptEvent[] {
    return this.#events.slice(-this.#size).filter((kept) => kept.place >= place)
  }

  /** Resolves when events are added, or the signal aborts. */
  async whenAdded(signal: AbortSignal): Promise<void> {
    const added = Promise.withResolvers<void>()
    const wake = () => added.resolve()
    this.#listeners.add(wake)
    signal.addEventListener('abort', wake, { once: true })
    if (signal.aborted) wake()
    await added.promise
    this.#listeners.delete(wake)
    signal.removeEventListener('abort', wake)
  }
}
