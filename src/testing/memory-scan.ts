import { checkPlace, NUMBERED } from '../kit/index.ts'
import type { MessageScan, ScannedMessage, ScanRequest } from '../transport/index.ts'
import type { MemoryBroker } from './memory-broker.ts'
import type { StoredMessage } from './memory-message.ts'

/** Messages per page. */
const PAGE = 100

/** Reads a range of the broker's log. */
export function scanLog(broker: MemoryBroker, { from, direction }: ScanRequest): MessageScan {
  checkPlace('browse: from', from, (text) => NUMBERED.test(text))
  const log = broker.messages(0)
  const isForward = direction === 'forward'
  const at = startIn(log, from, isForward)
  const part = isForward ? log.slice(at).map(described(at)) : log.slice(0, at).map(described(0)).toReversed()
  return { total: part.length, pages: pagesOf(part) }
}

/** Reads what is added to the log from now on, until the signal aborts. */
export function followLog(broker: MemoryBroker, signal: AbortSignal): MessageScan {
  return { total: undefined, pages: newPages(broker, broker.messages(0).length, signal) }
}

/** The number of messages before the start of the range. */
export function startIn(log: readonly StoredMessage[], from: Date | string, isForward: boolean): number {
  if (from === 'first') return 0
  if (from === 'last') return log.length
  if (!(from instanceof Date)) return Number(from) + (isForward ? 1 : 0)
  const limit = from.getTime() + (isForward ? 0 : 1)
  const at = log.findIndex(({ storedAt }) => storedAt >= limit)
  return at < 0 ? log.length : at
}

async function* pagesOf(all: readonly ScannedMessage[]): AsyncGenerator<readonly ScannedMessage[]> {
  for (let at = 0; at < all.length; at += PAGE) yield all.slice(at, at + PAGE)
}

async function* newPages(
  broker: MemoryBroker,
  start: number,
  signal: AbortSignal,
): AsyncGenerator<readonly ScannedMessage[]> {
  let at = start
  while (!signal.aborted) {
    const changed = Promise.withResolvers<void>()
    const wake = () => changed.resolve()
    const unlisten = broker.onChange(wake)
    signal.addEventListener('abort', wake, { once: true })
    const found = broker.messages(at)
    if (found.length === 0) await changed.promise
    unlisten()
    signal.removeEventListener('abort', wake)
    if (found.length > 0) yield found.map(described(at))
    at += found.length
  }
}

function described(start: number): (message: StoredMessage, index: number) => ScannedMessage {
  return ({ id, key, headers, body, storedAt }, index) => ({
    message: { id, key, headers, body },
    position: String(start + index),
    partition: undefined,
    storedAt: new Date(storedAt),
  })
}
