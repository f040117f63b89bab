import type { ContractEvent, EventContract } from './contract.ts'
import type { JsonSchema, PayloadSchemas } from './payload-schemas.ts'
import { type Refusal, type RefusalRule, refusals } from './refusals.ts'

/** A change that breaks stored events or consumers. */
export interface ContractFault {
  readonly eventType: string
  /** Path of the field; empty if the fault concerns the whole event. */
  readonly field: string
  readonly rule:
    | RefusalRule
    | 'event-removed'
    | 'alias-removed'
    | 'aggregate-type-changed'
    | 'version-lowered'
    | 'upcast-missing'
  readonly detail: string
  readonly remedy: string
}

/**
 * Compares the contract of this release with the committed one, and with those of its consumers.
 *
 * @param consumers - the contracts of services that read the events, by the name of the service.
 * @returns the changes that break stored events or consumers; none if all can still be read.
 */
export function compareContracts(
  committed: EventContract,
  current: EventContract,
  consumers: Readonly<Record<string, EventContract>> = {},
): readonly ContractFault[] {
  const own = Object.entries(committed.events).flatMap(([type, event]) => changes(type, event, current))
  const others = Object.entries(consumers).flatMap(([name, { events }]) =>
    Object.entries(events).flatMap(([type, event]) => unreadable(name, type, event, current)),
  )
  return [...own, ...others]
}

function changes(eventType: string, before: ContractEvent, current: EventContract): readonly ContractFault[] {
  const fault = (rule: ContractFault['rule'], detail: string, remedy: string, field = ''): ContractFault => ({
    ...{ eventType, field, rule, detail, remedy },
  })
  const [type, now] = findEvent(eventType, current)
  if (now === undefined) {
    const remedy = `keep the class, or add ${eventType} to typeAliases of the class that replaces it`
    return [fault('event-removed', 'stored events and messages of this type may exist', remedy)]
  }
  const names = [type, ...now.typeAliases]
  const lost = before.typeAliases.filter((alias) => !names.includes(alias))
  const aggregates = [now.aggregateType, ...now.aggregateTypeAliases]
  return [
    ...lost.map((alias) => fault('alias-removed', `${alias} is no longer read`, 'put the alias back')),
    ...[before.aggregateType, ...before.aggregateTypeAliases]
      .filter((aggregate) => !aggregates.includes(aggregate))
      .map((aggregate) => {
        const remedy = `add ${aggregate} to aggregateTypeAliases`
        return fault('aggregate-type-changed', `streams of ${aggregate} are no longer found`, remedy)
      }),
    ...payloadChanges(before, now, fault),
  ]
}

type MakeFault = (
  rule: ContractFault['rule'],
  detail: string,
  remedy: string,
  field?: string,
) => ContractFault

function payloadChanges(
  before: ContractEvent,
  now: ContractEvent,
  fault: MakeFault,
): readonly ContractFault[] {
  if (now.version < before.version) {
    const detail = `version ${before.version} was published, this release has ${now.version}`
    return [fault('version-lowered', detail, `raise the version to at least ${before.version}`)]
  }
  const atOf = ({ field, rule, detail }: Refusal, readers: string, remedy: string) =>
    fault(rule, `${readers}: ${detail}`, remedy, field)
  const nextVersion = before.version + 1
  if (now.version > before.version) {
    if (now.hasUpcasts) return []
    return refusals(readsOf(now.payload), before.payload.writes).map(({ field, detail }) => {
      const remedy = `declare upcasts that start with firstVersion and end with version ${now.version}`
      return fault('upcast-missing', `stored events of version ${before.version}: ${detail}`, remedy, field)
    })
  }
  const remedy = `raise the version to ${nextVersion} and add an upcast: .to(${nextVersion}, …)`
  const deploy = `${remedy}; deploy consumers first, or write the earlier version with publishAs`
  return [
    ...refusals(readsOf(now.payload), before.payload.writes).map((found) =>
      atOf(found, `stored events of version ${before.version}`, remedy),
    ),
    ...refusals(readsOf(before.payload), now.payload.writes).map((found) =>
      atOf(found, `consumers of version ${before.version}`, deploy),
    ),
  ]
}

/** Fields that a consumer reads, and that the version which is written does not have in that form. */
function unreadable(
  consumer: string,
  eventType: string,
  wanted: ContractEvent,
  current: EventContract,
): readonly ContractFault[] {
  const [, published] = findEvent(eventType, current)
  if (published === undefined) return [] // the consumer's own event, or that of another producer
  const { writtenVersion } = published
  // The consumer upcasts what is written.
  if (writtenVersion < wanted.version && wanted.hasUpcasts) return []
  return refusals(readsOf(wanted.payload), writtenBy(published)).map(({ field, rule, detail }) => ({
    ...{ eventType, field, rule },
    detail: `${consumer} reads version ${wanted.version}, version ${writtenVersion} is written: ${detail}`,
    remedy: `deploy ${consumer} with version ${writtenVersion} first, or write version ${wanted.version} with publishAs`,
  }))
}

function findEvent(eventType: string, { events }: EventContract) {
  const own = events[eventType]
  if (own !== undefined) return [eventType, own] as const
  const found = Object.entries(events).find(([, { typeAliases }]) => typeAliases.includes(eventType))
  return found ?? ([eventType, undefined] as const)
}

function writtenBy({ version, writtenVersion, payload, earlier }: ContractEvent): JsonSchema {
  return writtenVersion === version ? payload.writes : (earlier[writtenVersion]?.writes ?? {})
}

const readsOf = ({ reads, writes }: PayloadSchemas): JsonSchema => reads ?? writes
