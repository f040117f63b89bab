import { setTimeout as wait } from 'node:timers/promises'
import type { BrowsedEvent, EventFilter } from '../../browsing/index.ts'
import type { EventBus } from '../../bus/index.ts'
import { toError } from '../../errors.ts'
import type { Masker } from '../mask.ts'
import { payloadOf, showsText } from '../pages/events/payload.ts'
import { cut } from '../pages/letters/format.ts'
import type { LiveEvent, LiveFrame } from './live-frame.ts'
import type { LiveViewer } from './live-viewer.ts'

/** Between two frames, in milliseconds. */
const FRAME_MS = 250
/** Before the bus is read again after a failure, in milliseconds. */
const AGAIN_MS = 1000
/** Events that are decoded for a frame: 200 per second. The others are only counted. */
const MAX_DECODED = 50
/** Longest texts of an event, in characters. */
const MAX_TEXT = 120
const MAX_PAYLOAD = 400
/** A body that is longer is not decoded, in bytes. */
const MAX_BODY = 256 * 1024

export interface LiveReaderParts {
  readonly bus: EventBus
  readonly filter: EventFilter
  readonly mask: Masker
}

/** Reads the new events of a bus that match a filter, once for all viewers, outside of every consumer group. */
export class LiveReader {
  readonly viewers = new Set<LiveViewer>()
  readonly #parts: LiveReaderParts
  readonly #stop = new AbortController()
  readonly #timer: NodeJS.Timeout
  #fresh = 0
  #events: LiveEvent[] = []

  constructor(parts: LiveReaderParts) {
    this.#parts = parts
    this.#timer = setInterval(() => this.#frame(), FRAME_MS)
    void this.#run()
  }

  /** Ends the read at the broker, and the streams of its viewers. */
  stop(): void {
    clearInterval(this.#timer)
    this.#stop.abort()
    for (const viewer of [...this.viewers]) viewer.end()
  }

  /** Never rejects. Reads again after the broker was away. */
  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      try {
        const { bus, filter } = this.#parts
        for await (const found of bus.admin.tail({ filter, signal })) this.#note(found)
        this.stop() // the bus was shut down
      } catch (thrown) {
        const problem = this.#parts.mask.text(toError(thrown).message)
        for (const viewer of this.viewers) viewer.report(problem)
        await wait(AGAIN_MS, undefined, { signal }).catch(() => undefined)
      }
    }
  }

  #note(found: BrowsedEvent): void {
    const { filter, mask } = this.#parts
    if (filter.text !== undefined && !showsText(found, filter.text, mask)) return
    this.#fresh += 1
    if (this.#events.length < MAX_DECODED) this.#events.push(this.#shown(found))
  }

  #shown(found: BrowsedEvent): LiveEvent {
    const { bus, mask } = this.#parts
    const { eventId, eventType, aggregateId, correlationId, storedAt, body } = found
    const payload = body.byteLength > MAX_BODY ? undefined : payloadOf(found, bus, mask)
    const short = (text: string | undefined) => (text === undefined ? undefined : cut(text, MAX_TEXT))
    return {
      id: eventId,
      type: short(eventType),
      aggregate: short(aggregateId),
      correlation: short(correlationId),
      at: (storedAt ?? found.occurredAt)?.getTime(),
      isStored: storedAt !== undefined,
      ...(payload !== undefined && { payload: cut(JSON.stringify(payload), MAX_PAYLOAD) }),
    }
  }

  #frame(): void {
    const fresh = this.#fresh
    const frame: LiveFrame | undefined = fresh === 0 ? undefined : { fresh, events: this.#events }
    this.#fresh = 0
    this.#events = []
    for (const viewer of [...this.viewers]) viewer.show(frame)
  }
}
