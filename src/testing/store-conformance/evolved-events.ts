import { defineEvent, firstVersion, GenericEvent } from '../../index.ts'

/** The class of a later release, with a payload of version 3. */
export class Renamed extends defineEvent<{ readonly count: number; readonly unit: string }>()({
  type: 'ConformanceRenamed',
  aggregateType: 'Note',
  upcasts: firstVersion<{ n: number }>()
    .to(2, ({ n }) => {
      if (n < 0) throw new Error('no count')
      return { count: n }
    })
    .to(3, (v2) => ({ ...v2, unit: 'piece' })),
}) {}

/** An event of a release before the names changed. */
export class Former extends defineEvent<{ readonly count: number }>()({
  type: 'ConformanceFormer',
  aggregateType: 'FormerNote',
}) {}

/** The class of the release with the new names. */
export class Current extends defineEvent<{ readonly count: number }>()({
  type: 'ConformanceCurrent',
  typeAliases: ['ConformanceFormer'],
  aggregateType: 'CurrentNote',
  aggregateTypeAliases: ['FormerNote'],
}) {}

export const former = (count: number, aggregateId = 'a') => new Former({ aggregateId, count })
export const current = (count: number, aggregateId = 'a') => new Current({ aggregateId, count })

/** The fields and names of an instance of `Current`; the name of another class. */
export function named(event: unknown): unknown {
  if (!(event instanceof Current)) return event?.constructor.name
  return [event.count, event.eventType, event.aggregateType, event.aggregateVersion]
}

/** What `named` returns for an event with this count and version. */
export const underCurrentNames = (count: number, version = count) => [
  count,
  Current.eventType,
  Current.aggregateType,
  version,
]

/** An event as the release with this version wrote it. */
export const ofVersion = (eventVersion: number, data: Readonly<Record<string, unknown>>) =>
  new GenericEvent({
    eventType: Renamed.eventType,
    aggregateType: Renamed.aggregateType,
    aggregateId: 'a',
    eventVersion,
    data,
  })

/** One event of each version, the last of a version that the class does not know. */
export const allVersions = () => [
  ofVersion(1, { n: 7 }),
  ofVersion(2, { count: 7 }),
  ofVersion(3, { count: 7, unit: 'piece' }),
  ofVersion(4, { count: 7, unit: 'piece', color: 'red' }),
]

/** What the class shows of {@link allVersions}. */
export const ALL_SEEN = [
  [7, 'piece', 3],
  [7, 'piece', 3],
  [7, 'piece', 3],
  [7, 'piece', 4],
]

/** The fields of an instance of the class; the name of another class. */
export function seen(event: unknown): unknown {
  if (event instanceof Renamed) return [event.count, event.unit, event.eventVersion]
  return event?.constructor.name
}
