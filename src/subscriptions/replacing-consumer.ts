import { ConfigError, toError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import type { HandlerContext } from '../handling/event-handler.ts'
import type { HandlerEntry } from '../handling/handler-entry.ts'
import type { StoredEvent } from '../store/index.ts'
import type { Consumer } from './projection.ts'
import type { EventReplacement } from './replacements.ts'
import type { HandlersFor } from './transactional-units.ts'
import type { Unit } from './unit.ts'

/**
 * A consumer that gets other events instead of those that are replaced.
 *
 * @param allowed - the event types that the subscription is limited to; undefined for all.
 * @throws ConfigError if it handles an event that is replaced.
 */
export function withReplacements(
  consumer: Consumer,
  replacements: readonly EventReplacement[],
  allowed: readonly string[] | undefined,
): Consumer {
  if (replacements.length === 0) return consumer
  const byType = new Map(replacements.map((replacement) => [replacement.eventClass.eventType, replacement]))
  refuseReplaced(consumer, byType)
  const isWanted = ({ eventType }: DomainEvent) =>
    [consumer.eventTypes, allowed].every((types) => types?.includes(eventType) ?? true)
  const eventsOf = (stored: StoredEvent): readonly StoredEvent[] => {
    const replacement = byType.get(stored.event.eventType)
    if (replacement === undefined || stored.fault !== undefined) return [stored]
    return replacement
      .split(stored.event)
      .filter(isWanted)
      .map((event) => ({ ...stored, event }))
  }
  // A transaction moves the checkpoint past a stored event, so it handles all events that replace it.
  const isUnit = consumer.isBatch || consumer.transactional !== undefined
  const replacing =
    (own: HandlersFor): HandlersFor =>
    (unit) => {
      if (!unit.some(({ event }) => byType.has(event.eventType))) return own(unit)
      try {
        if (unit.some(({ fault }) => fault !== undefined)) return [failing(consumer, undefined)]
        const events = unit.flatMap(eventsOf)
        return isUnit ? handlersOfAll(own, events, unit) : handlersOfEach(own, events)
      } catch (thrown) {
        return [failing(consumer, toError(thrown))]
      }
    }
  return {
    ...consumer,
    // Only a decoded event can be replaced.
    ...(consumer.relay && { relay: { takesStored: () => false } }),
    replacing,
    handlersFor: replacing(consumer.handlersFor),
    eventClasses: [
      ...consumer.eventClasses,
      ...replacements.flatMap(({ eventClass, into }) => [eventClass, ...into]),
    ],
    alsoReads: (wanted) =>
      replacements
        .filter(({ into }) => into.some(({ eventType }) => wanted.includes(eventType)))
        .map(({ eventClass }) => eventClass.eventType),
  }
}

function refuseReplaced({ name, eventTypes }: Consumer, byType: ReadonlyMap<string, EventReplacement>): void {
  const replacement = eventTypes?.map((type) => byType.get(type)).find((found) => found !== undefined)
  if (replacement === undefined) return
  const into = replacement.into.map(({ eventType }) => eventType).join(', ')
  throw new ConfigError(`subscription ${name}`, [
    `no event of type ${replacement.eventClass.eventType} reaches it, because ${into === '' ? 'it is dropped' : `${into} replaces it`}: leave it out`,
  ])
}

function handlersOfAll(
  own: HandlersFor,
  events: readonly StoredEvent[],
  whole: Unit,
): readonly HandlerEntry[] {
  const [first, ...others] = events
  return first === undefined ? [] : own([first, ...others], whole)
}

/** The handlers of several events as handlers of one: each gets its events one after the other. */
function handlersOfEach(own: HandlersFor, events: readonly StoredEvent[]): readonly HandlerEntry[] {
  const eventsOf = new Map<HandlerEntry, DomainEvent[]>()
  for (const stored of events) {
    for (const handler of own([stored])) {
      eventsOf.set(handler, [...(eventsOf.get(handler) ?? []), stored.event])
    }
  }
  return [...eventsOf].map(([handler, given]) => {
    const invoke = async (_replaced: DomainEvent, context: HandlerContext) => {
      for (const event of given) {
        if (handler.accepts?.(event) ?? true) await handler.invoke(event, context)
      }
    }
    return { ...handler, accepts: undefined, invoke }
  })
}

/** Stands for the handlers of an event that cannot be replaced, so that it is retried and given up as if they had failed. */
function failing({ name }: Consumer, error: Error | undefined): HandlerEntry {
  const invoke = () => {
    throw error
  }
  const common = { aliases: [], handler: undefined, accepts: undefined, policy: undefined, limit: undefined }
  return { name, id: undefined, ...common, invoke }
}
