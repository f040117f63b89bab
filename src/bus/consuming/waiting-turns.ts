import { WaitingLineFullError } from '../../handling/errors.ts'
import { type HandlerEntry, namesOf } from '../../handling/handler-entry.ts'
import type { HandlerFailure } from '../../handling/handler-failure.ts'
import { maxBehind } from '../../handling/waiting-policy.ts'
import type { Delivery } from '../../transport/transport.ts'
import type { LineWatch } from './line-watch.ts'
import type { Settling } from './settling.ts'

/** The handlers for which it is not the turn of an event. */
export interface WaitingTurns {
  /** Those for which it waits behind others of its aggregate. */
  readonly moved: readonly HandlerEntry[]
  /** Those for which too many others wait. */
  readonly refused: readonly HandlerFailure[]
}

/** @returns undefined if the delivery must not be handled. */
export async function waitingTurns(
  delivery: Delivery,
  handlers: readonly HandlerEntry[],
  parts: { readonly settling: Settling; readonly lines: LineWatch },
): Promise<WaitingTurns | undefined> {
  const moved: HandlerEntry[] = []
  const refused: HandlerFailure[] = []
  for (const handler of handlers) {
    const limit = maxBehind(handler)
    const before = await eventsBefore(delivery, handler, limit, parts)
    if (before === undefined) return undefined
    // The first one does not wait behind another.
    if (before > limit) refused.push({ handler, error: new WaitingLineFullError(handler.name, limit) })
    else if (before > 0) moved.push(handler)
  }
  return { moved, refused }
}

/** Others may wait under a name that the handler had in an earlier release. */
async function eventsBefore(
  delivery: Delivery,
  handler: HandlerEntry,
  limit: number,
  { settling, lines }: { readonly settling: Settling; readonly lines: LineWatch },
): Promise<number | undefined> {
  const aggregateId = delivery.message.key ?? ''
  for (const name of namesOf(handler)) {
    const before = await settling.waitBehind(delivery, name, limit + 1)
    if (before === undefined) return undefined
    lines.seen({ handlerName: name, aggregateId, count: Math.min(before, limit), limit })
    if (before > 0) return before
  }
  return 0
}
