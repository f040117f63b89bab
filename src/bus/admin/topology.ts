import type { BusReport, ConsumerInfo } from '../presence/report.ts'

/** A program that publishes. */
export interface TopologyProducer {
  /** The name of the program; if it has none, its consumer group, or else its host. */
  readonly name: string
  /** Living processes of it that have published. */
  readonly processes: number
  /** Sorted. */
  readonly eventTypes: readonly string[]
}

/** A consumer group with living consumers. */
export interface TopologyGroup {
  readonly name: string
  readonly consumers: number
}

/** A handler of a consumer group. */
export interface TopologyHandler {
  readonly group: string
  readonly name: string
  /** Sorted; `*` stands for all. */
  readonly eventTypes: readonly string[]
}

/** A handler has published events of one type while it handled events of another one. */
export interface TopologyEdge {
  /** Type of the handled event. */
  readonly eventType: string
  readonly group: string
  readonly handler: string
  /** Type of the published event. */
  readonly publishes: string
}

/** Who publishes what, and who handles it. Each list is sorted. */
export interface Topology {
  readonly producers: readonly TopologyProducer[]
  /** All event types that occur. */
  readonly events: readonly string[]
  readonly groups: readonly TopologyGroup[]
  readonly handlers: readonly TopologyHandler[]
  readonly edges: readonly TopologyEdge[]
}

/** The consumers of all groups, or of one. */
export function consumersOf(
  reports: readonly BusReport[],
  group: string | undefined,
): readonly ConsumerInfo[] {
  return reports
    .flatMap(({ consumer }) => consumer ?? [])
    .filter((consumer) => group === undefined || consumer.group === group)
    .toSorted((a, b) => compare([a.group ?? '', a.name], [b.group ?? '', b.name]))
}

/** What several processes of a program or a group have in common is listed once. */
export function topologyOf(reports: readonly BusReport[]): Topology {
  const producers = producersOf(reports)
  const handlers = handlersOf(reports)
  const edges = edgesOf(reports)
  const consumers = consumersOf(reports, undefined)
  const types = new Set([
    ...producers.flatMap(({ eventTypes }) => eventTypes),
    ...handlers.flatMap(({ eventTypes }) => eventTypes),
    ...edges.flatMap(({ eventType, publishes }) => [eventType, publishes]),
  ])
  types.delete('*')
  const groups = Map.groupBy(consumers, (consumer) => groupOf(consumer))
  return {
    producers,
    events: [...types].toSorted(),
    groups: [...groups]
      .map(([name, members]) => ({ name, consumers: members.length }))
      .toSorted((a, b) => compare([a.name], [b.name])),
    handlers,
    edges,
  }
}

function producersOf(reports: readonly BusReport[]): readonly TopologyProducer[] {
  const publishing = reports.filter(({ publishes }) => publishes.length > 0)
  const byName = Map.groupBy(
    publishing,
    ({ process, consumer }) => process.programName ?? consumer?.group ?? process.host,
  )
  return [...byName]
    .map(([name, processes]) => ({
      name,
      processes: processes.length,
      eventTypes: sortedSet(processes.flatMap(({ publishes }) => publishes)),
    }))
    .toSorted((a, b) => compare([a.name], [b.name]))
}

function handlersOf(reports: readonly BusReport[]): readonly TopologyHandler[] {
  const all = reports.flatMap(({ consumer }) =>
    (consumer?.handlers ?? []).map((handler) => ({ group: consumer && groupOf(consumer), ...handler })),
  )
  const byPlace = Map.groupBy(all, ({ group, name }) => JSON.stringify([group, name]))
  return [...byPlace.values()]
    .flatMap((same) => {
      const [{ group = '', name = '' } = {}] = same
      return [{ group, name, eventTypes: sortedSet(same.flatMap(({ eventTypes }) => eventTypes)) }]
    })
    .toSorted((a, b) => compare([a.group, a.name], [b.group, b.name]))
}

function edgesOf(reports: readonly BusReport[]): readonly TopologyEdge[] {
  const all = reports.flatMap(({ consumer, edges, process }) =>
    edges.map((edge) => ({
      eventType: edge.eventType,
      group: consumer === undefined ? (process.programName ?? process.host) : groupOf(consumer),
      handler: edge.handler,
      publishes: edge.publishes,
    })),
  )
  const fields = ({ group, handler, eventType, publishes }: TopologyEdge) => [
    group,
    handler,
    eventType,
    publishes,
  ]
  const unique = new Map(all.map((edge) => [JSON.stringify(fields(edge)), edge]))
  return [...unique.values()].toSorted((a, b) => compare(fields(a), fields(b)))
}

/** An `InMemoryEventBus` has no groups, so its process stands for one. */
function groupOf({ group, programName, name }: ConsumerInfo): string {
  return group ?? programName ?? name
}

function sortedSet(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)].toSorted()
}

function compare(a: readonly string[], b: readonly string[]): number {
  for (const [index, left] of a.entries()) {
    const right = b[index] ?? ''
    if (left !== right) return left < right ? -1 : 1
  }
  return 0
}
