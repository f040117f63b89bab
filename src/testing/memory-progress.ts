import type { EventPlace, GroupProgress, HandlerWait } from '../transport/index.ts'
import type { MemoryBroker } from './memory-broker.ts'
import type { PendingMessage } from './memory-message.ts'
import type { WaitingMessage } from './memory-waits.ts'

const NOTHING = {
  consumer: undefined,
  attempts: undefined,
  settledHandlers: [],
  waits: [],
  isReplay: false,
  hasOpenReplay: false,
  remark: undefined,
} as const

/** How far a group is with an event. */
export function groupProgress(
  { unread, pending, waits: waiting }: ReturnType<MemoryBroker['stateOf']>,
  group: string,
  { eventId, scanned }: EventPlace,
): GroupProgress {
  const own = { ...NOTHING, group, waits: waiting.flatMap((message) => waitOf(message, eventId)) }
  const isOfEvent = ({ headers }: Pick<PendingMessage, 'headers'>) => headers['event_id'] === eventId
  const held = pending.find(isOfEvent)
  if (held !== undefined) {
    const { consumer, attemptsStarted: attempts, settledHandlers, id } = held
    const isReplay = id !== scanned?.message.id
    const state = consumer === undefined ? 'waiting' : 'inFlight'
    return { ...own, state, consumer, attempts, settledHandlers, isReplay, hasOpenReplay: isReplay }
  }
  if (own.waits.length > 0) return { ...own, state: 'retrying' }
  if (scanned === undefined) return { ...own, state: 'unknown', remark: 'the event was not found' }
  return { ...own, state: unread.has(scanned.message.id) ? 'waiting' : 'settled' }
}

function waitOf({ original, target, dueAt }: WaitingMessage, eventId: string): readonly HandlerWait[] {
  const [handlerName] = target.handlerNames
  if (original.headers['event_id'] !== eventId || handlerName === undefined) return []
  const inMs = dueAt - performance.now()
  return [
    {
      handlerName,
      attempts: target.earlier?.attempts ?? 0,
      dueAt: Number.isFinite(inMs) ? new Date(Date.now() + inMs) : undefined,
    },
  ]
}
