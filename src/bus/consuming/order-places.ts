import { type HandlerEntry, namesOf } from '../../handling/handler-entry.ts'
import { parks } from '../../handling/waiting-policy.ts'
import { placesOf } from '../../transport/replay-headers.ts'
import type { Delivery } from '../../transport/transport.ts'

/** True if the message has a place among those of its aggregate that keep their order while they wait for a handler. */
export function hasPlace({ replayTarget }: Delivery): boolean {
  return replayTarget !== undefined && placesOf(replayTarget).size > 0
}

/** True if the message comes from a line in which it was the first. A replayed dead letter may have others before it. */
export function isFirstInLine({ replayTarget }: Delivery): boolean {
  return replayTarget?.earlier?.place !== undefined
}

/**
 * The names under which later events of the aggregate wait behind this one as a dead letter: for each handler that parks,
 * that of the place which the message has already, or its own.
 */
export function parkedNames(
  handlers: readonly HandlerEntry[],
  { message, replayTarget }: Delivery,
): readonly string[] {
  if (message.key === undefined) return []
  const places = placesOf(replayTarget)
  return handlers.filter(parks).flatMap((handler) => {
    const names = namesOf(handler)
    return names.find((name) => places.has(name)) ?? names[0] ?? []
  })
}

/** All names under which the message may have places for these handlers. */
export function placeNames(handlers: readonly HandlerEntry[]): readonly string[] {
  return handlers.flatMap(namesOf)
}
