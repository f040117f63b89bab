import { withAggregateType } from '../codec/convert-event.ts'
import { eventTypesOf } from '../events/event-registry.ts'
import { defaultRegistry, type EventClass, EventRegistry } from '../events/index.ts'
import { checkAppend } from './append-rules.ts'
import { AmbiguousStreamError } from './errors.ts'
import type { AppendRequest, FeedFilter, StreamName } from './event-store.ts'

/** The event classes that a store knows: the registered ones, then those of `defaultRegistry`. */
export class KnownEvents {
  readonly #registry: EventRegistry

  /** @param registry - receives the registered classes. */
  constructor(registry = new EventRegistry()) {
    this.#registry = registry
  }

  /** @throws DuplicateEventTypeError */
  register(eventClasses: readonly EventClass[]): void {
    for (const eventClass of eventClasses) this.#registry.register(eventClass)
  }

  /** The class of an event type or alias. */
  classFor(eventType: string): EventClass | undefined {
    return this.#registry.getOrUndefined(eventType) ?? defaultRegistry.getOrUndefined(eventType)
  }

  /** The filter with all names under which the wanted events may be stored. */
  withAliases<F extends FeedFilter>(filter: F): F {
    const { eventTypes, aggregateTypes } = filter
    if (eventTypes === undefined && aggregateTypes === undefined) return filter
    return {
      ...filter,
      ...(eventTypes && { eventTypes: [...new Set(eventTypes.flatMap((type) => this.#namesOf(type)))] }),
      ...(aggregateTypes && {
        aggregateTypes: [
          ...new Set(aggregateTypes.flatMap((type) => [type, ...this.#aggregateAliasesOf(type)])),
        ],
      }),
    }
  }

  /** The names under which a stream may be stored: its own, then those of before its aggregate type was renamed. */
  streamNames({ aggregateId, aggregateType }: StreamName): readonly StreamName[] {
    const aliases = this.#aggregateAliasesOf(aggregateType)
    return [aggregateType, ...aliases].map((type) => ({ aggregateId, aggregateType: type }))
  }

  /**
   * The name under which a stream is stored, or will be.
   * @param exists - whether a stream is stored under exactly this name.
   * @throws AmbiguousStreamError if there are streams under several of its names.
   */
  async storedName(name: StreamName, exists: (name: StreamName) => Promise<boolean>): Promise<StreamName> {
    const names = this.streamNames(name)
    if (names.length === 1) return name
    const found: StreamName[] = []
    for (const one of names) if (await exists(one)) found.push(one)
    return onlyOf(name, found)
  }

  #namesOf(eventType: string): readonly string[] {
    const eventClass = this.classFor(eventType)
    return eventClass?.eventType === eventType ? eventTypesOf(eventClass) : [eventType]
  }

  #aggregateAliasesOf(aggregateType: string): readonly string[] {
    return [
      ...new Set([
        ...this.#registry.aggregateAliasesOf(aggregateType),
        ...defaultRegistry.aggregateAliasesOf(aggregateType),
      ]),
    ]
  }
}

/**
 * Chooses the name of a stream among those that exist.
 * @throws AmbiguousStreamError if there are several.
 */
export function onlyOf({ aggregateId, aggregateType }: StreamName, found: readonly StreamName[]): StreamName {
  const types = found.map((name) => name.aggregateType)
  if (types.length > 1) throw new AmbiguousStreamError(aggregateId, types)
  return { aggregateId, aggregateType: types[0] ?? aggregateType }
}

/**
 * The append to a stream under the name under which it is stored. Its events get the aggregate type of that name.
 * @throws what `checkAppend` throws.
 */
export function storedAppend(request: AppendRequest, { aggregateType }: StreamName): AppendRequest {
  checkAppend(request)
  if (aggregateType === request.aggregateType) return request
  const events = request.events.map((event) => withAggregateType(event, aggregateType))
  return { ...request, aggregateType, events }
}
