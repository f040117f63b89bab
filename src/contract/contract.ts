import { definitionOf } from '../events/definition.ts'
import { assertEventClass } from '../events/event-registry.ts'
import type { EventClass } from '../events/index.ts'
import { type PayloadSchemas, payloadSchemasOf } from './payload-schemas.ts'

/** One event of a contract. */
export interface ContractEvent {
  readonly aggregateType: string
  readonly typeAliases: readonly string[]
  readonly aggregateTypeAliases: readonly string[]
  /** The current version of the payload. */
  readonly version: number
  /** The version in which events are written. */
  readonly writtenVersion: number
  /** True if payloads of all earlier versions are upcast. */
  readonly hasUpcasts: boolean
  /** The payload of the current version. */
  readonly payload: PayloadSchemas
  /** The payloads of earlier versions, as far as they were recorded. */
  readonly earlier: Readonly<Record<string, PayloadSchemas>>
}

/** The events of a service, as its consumers and its stores rely on them. Written to a file and committed. */
export interface EventContract {
  /** Version of this format. */
  readonly eventspine: 1
  /** By event type, in alphabetical order. */
  readonly events: Readonly<Record<string, ContractEvent>>
}

/**
 * Describes event classes as a contract.
 *
 * @param committed - the contract of an earlier release, from which the payloads of earlier versions are taken over.
 */
export function contractOf(eventClasses: Iterable<EventClass>, committed?: EventContract): EventContract {
  const classes = [...eventClasses]
  for (const eventClass of classes) assertEventClass(eventClass)
  const sorted = classes.toSorted((a, b) => (a.eventType < b.eventType ? -1 : 1))
  const events = sorted.map((eventClass) => {
    const { eventType, typeAliases } = eventClass
    const before = [eventType, ...typeAliases].map((type) => committed?.events[type]).find(Boolean)
    return [eventType, eventOf(eventClass, before)] as const
  })
  return { eventspine: 1, events: Object.fromEntries(events) }
}

function eventOf(eventClass: EventClass, before: ContractEvent | undefined): ContractEvent {
  const { aggregateType, typeAliases, aggregateTypeAliases, schemaVersion: version } = eventClass
  const { schema, upcasts, writtenVersion = version } = definitionOf(eventClass) ?? {}
  const first = upcasts?.firstSchema === undefined ? {} : { 1: payloadSchemasOf(upcasts.firstSchema) }
  const latest = before !== undefined && before.version < version ? { [before.version]: before.payload } : {}
  return {
    ...{ aggregateType, typeAliases, aggregateTypeAliases, version, writtenVersion },
    hasUpcasts: upcasts !== undefined,
    payload: payloadSchemasOf(schema),
    earlier: { ...first, ...before?.earlier, ...latest },
  }
}

/**
 * Reads a contract file.
 * @throws TypeError if it is none.
 */
export function parseContract(json: string): EventContract {
  const contract: unknown = JSON.parse(json)
  const isContract =
    typeof contract === 'object' &&
    contract !== null &&
    Reflect.get(contract, 'eventspine') === 1 &&
    typeof Reflect.get(contract, 'events') === 'object'
  if (!isContract)
    throw new TypeError('The file is not a contract of events, or a later release has written it.')
  // Only the command writes this file.
  return contract as EventContract
}
