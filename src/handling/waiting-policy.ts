import type { HandlerEntry } from './handler-entry.ts'

/** The default of `maxBehind`. */
const MAX_BEHIND = 10_000

type WithPolicy = Pick<HandlerEntry, 'policy'>

/** True if events may wait on the broker for the handler. */
export function mayWait({ policy }: WithPolicy): boolean {
  return policy?.longWaits !== undefined || policy?.onDeadLetter === 'park'
}

/** True if later events of an aggregate wait behind one that the handler has postponed. */
export function keepsOrder({ policy }: WithPolicy): boolean {
  return policy?.longWaits?.order === 'keep'
}

/** True if later events of an aggregate wait behind a dead letter of the handler. */
export function parks({ policy }: WithPolicy): boolean {
  return policy?.onDeadLetter === 'park'
}

/** How many events of one aggregate may wait behind one. */
export function maxBehind({ policy }: WithPolicy): number {
  return policy?.maxBehind ?? MAX_BEHIND
}

/** True if an event may have to wait behind others of its aggregate. */
export function waitsInOrder(handler: WithPolicy): boolean {
  return keepsOrder(handler) || parks(handler)
}
