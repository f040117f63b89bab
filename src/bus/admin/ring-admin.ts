import { JsonCodec } from '../../codec/index.ts'
import { checkPlace, NUMBERED } from '../../kit/places.ts'
import type {
  GroupInfo,
  MessageScan,
  ScannedMessage,
  ScanRequest,
  SeekOutcome,
  TransportAdmin,
} from '../../transport/admin.ts'
import { HistoryUnavailableError } from '../../transport/errors.ts'
import type { GroupProgress } from '../../transport/group-progress.ts'
import type { EventRing, KeptEvent } from './event-ring.ts'

/** Writes events as a broker bus with the default codec would. */
export const RING_CODEC = new JsonCodec()
/** Events per page. */
const PAGE = 100

/** What an operator can ask a bus in memory. It has no consumer groups: `publish` runs the handlers. */
export class RingAdmin implements TransportAdmin {
  readonly #ring: EventRing | undefined

  constructor(ring: EventRing | undefined) {
    this.#ring = ring
  }

  groups(): Promise<readonly GroupInfo[]> {
    return Promise.resolve([])
  }

  deleteGroup(): Promise<boolean> {
    return Promise.resolve(true)
  }

  seek(): Promise<SeekOutcome> {
    return Promise.resolve({ events: 0, isMoved: false })
  }

  progress(): Promise<readonly GroupProgress[]> {
    return Promise.resolve([])
  }

  async scan({ from, direction }: ScanRequest): Promise<MessageScan> {
    checkPlace('browse: from', from, (text) => NUMBERED.test(text))
    const isForward = direction === 'forward'
    const kept = (await this.#needed()).from(0)
    const at = startIn(kept, from, isForward)
    const part = isForward ? kept.slice(at) : kept.slice(0, at).toReversed()
    return { total: part.length, pages: pagesOf(part) }
  }

  async follow(_aggregateId: string | undefined, signal: AbortSignal): Promise<MessageScan> {
    const ring = await this.#needed()
    return { total: undefined, pages: newPages(ring, ring.added, signal) }
  }

  #needed(): Promise<EventRing> {
    if (this.#ring !== undefined) return Promise.resolve(this.#ring)
    return Promise.reject(
      new HistoryUnavailableError(
        'This bus keeps no events; set the option keepLastEvents to the number of events to keep.',
      ),
    )
  }
}

function startIn(kept: readonly KeptEvent[], from: Date | string, isForward: boolean): number {
  if (from === 'first') return 0
  if (from === 'last') return kept.length
  const isInRange = ({ at, place }: KeptEvent) =>
    from instanceof Date
      ? at >= from.getTime() + (isForward ? 0 : 1)
      : place >= Number(from) + (isForward ? 1 : 0)
  const found = kept.findIndex(isInRange)
  return found < 0 ? kept.length : found
}

async function* pagesOf(kept: readonly KeptEvent[]): AsyncGenerator<readonly ScannedMessage[]> {
  for (let at = 0; at < kept.length; at += PAGE) yield kept.slice(at, at + PAGE).map(scanned)
}

async function* newPages(
  ring: EventRing,
  start: number,
  signal: AbortSignal,
): AsyncGenerator<readonly ScannedMessage[]> {
  let next = start
  while (!signal.aborted) {
    const added = ring.from(next)
    next = ring.added
    if (added.length > 0) yield added.map(scanned)
    else await ring.whenAdded(signal)
  }
}

function scanned({ event, place, at }: KeptEvent): ScannedMessage {
  const { key, headers, body } = RING_CODEC.encode(event)
  const position = String(place)
  return {
    message: { id: position, key, headers, body },
    position,
    partition: undefined,
    storedAt: new Date(at),
  }
}
