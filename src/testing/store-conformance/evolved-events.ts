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
