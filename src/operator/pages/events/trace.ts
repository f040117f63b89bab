import type { BrowsedEvent, EventFilter } from '../../../browsing/index.ts'
import { BrokerEventBus, type EventBus, type ExplainedGroup } from '../../../bus/index.ts'
import { HistoryUnavailableError } from '../../../transport/index.ts'
import type { Read } from '../../background-reads.ts'
import { type EventRow, rowOf } from './event-row.ts'

/** How long before the event its causes may be, in milliseconds. */
const BEFORE_MS = 10 * 60_000
/** Most events that are read of each bus, most events of a trace, and events whose groups are asked for. */
const MAX_SCANNED = 100_000
const MAX_EVENTS = 300
export const MAX_EXPLAINED = 25
/** Most events, and most dead letters, that are read for the groups of one event. */
const MAX_SCANNED_FOR_GROUPS = 10_000
/** The search for an event that was found before starts this long behind it, in milliseconds. */
const MARGIN_MS = 1000

export interface TraceQuery {
  readonly id: string
  readonly correlationId: string | undefined
  /** About when the event was published. */
  readonly at: Date | undefined
  /** The buses that the viewer may see. */
  readonly buses: ReadonlyMap<string, EventBus>
}

/** What a consumer group has done with an event of a trace. */
export interface ReachedGroup extends Pick<ExplainedGroup, 'group' | 'state'> {
  readonly bus: string
  /** The id of its dead letter. */
  readonly letter: string | undefined
}

/** An event, with those that it caused. Each event is in one node, also if several buses have it. */
export interface TraceNode {
  readonly row: EventRow
  readonly buses: readonly string[]
  readonly caused: readonly TraceNode[]
  /** Undefined before it is known. */
  readonly groups: readonly ReachedGroup[] | undefined
}

export interface Trace {
  readonly roots: readonly TraceNode[]
  readonly events: number
  /** Buses that keep no past events. */
  readonly without: readonly string[]
  /** Buses that were not read to their end. */
  readonly unread: readonly string[]
}

interface Found {
  readonly row: EventRow
  readonly buses: string[]
  groups: ReachedGroup[] | undefined
}

/** The events with the correlation of an event, of all buses, as a tree of their causes. */
export async function readTrace(query: TraceQuery, parts: Parameters<Read<Trace>>[0]): Promise<Trace> {
  const { signal, report } = parts
  const found = new Map<string, Found>()
  const [without, unread]: [string[], string[]] = [[], []]
  const result = (): Trace => ({ ...treeOf([...found.values()]), without: [...without], unread: [...unread] })
  for (const [name, bus] of query.buses) {
    try {
      if (!(await collect(query, name, bus, found, signal))) unread.push(name)
    } catch (error) {
      if (!(error instanceof HistoryUnavailableError)) throw error
      without.push(name)
    }
    report(result())
  }
  for (const one of [...found.values()].slice(0, MAX_EXPLAINED)) {
    if (signal.aborted) break
    one.groups = await groupsOf(query.buses, one, signal)
    report(result())
  }
  return result()
}

/** @returns false if the bus was not read to its end. */
async function collect(
  { id, correlationId, at }: TraceQuery,
  name: string,
  bus: EventBus,
  found: Map<string, Found>,
  signal: AbortSignal,
): Promise<boolean> {
  const filter: EventFilter = correlationId === undefined ? { causationId: id } : { correlationId }
  let isWhole = false
  const events = bus.admin.browse({
    ...{ filter, limit: MAX_EVENTS, maxScanned: MAX_SCANNED, signal },
    ...(at !== undefined && { from: new Date(at.getTime() - BEFORE_MS) }),
    onProgress: ({ ended }) => {
      isWhole = ended === 'end'
    },
  })
  for await (const event of events) note(found, name, event)
  return isWhole
}

/** An event that was published twice, or on two buses, is one event. */
function note(found: Map<string, Found>, bus: string, event: BrowsedEvent): void {
  const { eventId } = event
  if (eventId === undefined) return
  const known = found.get(eventId)
  if (known === undefined) found.set(eventId, { row: rowOf(event), buses: [bus], groups: undefined })
  else if (!known.buses.includes(bus)) known.buses.push(bus)
}

async function groupsOf(
  buses: ReadonlyMap<string, EventBus>,
  { row, buses: names }: Found,
  signal: AbortSignal,
): Promise<ReachedGroup[]> {
  const groups: ReachedGroup[] = []
  for (const name of names) {
    const bus = buses.get(name)
    if (!(bus instanceof BrokerEventBus) || row.eventId === undefined) continue
    const { at, isStoredTime, aggregateId } = row
    const explained = await bus.admin.explain(row.eventId, {
      ...(at !== undefined && isStoredTime && { from: new Date(at.getTime() + MARGIN_MS) }),
      ...(aggregateId !== undefined && { aggregateId }),
      ...{ maxScanned: MAX_SCANNED_FOR_GROUPS, signal },
    })
    for (const { group, state, deadLetters } of explained.groups)
      groups.push({ bus: name, group, state, letter: deadLetters.at(-1)?.id })
  }
  return groups
}

/** Each event below its cause. Those whose cause was not found are roots. */
function treeOf(found: readonly Found[]): Pick<Trace, 'roots' | 'events'> {
  const sorted = found.toSorted((a, b) => (a.row.at?.getTime() ?? 0) - (b.row.at?.getTime() ?? 0))
  const ids = new Set(sorted.map(({ row }) => row.eventId))
  const isRoot = ({ row: { causationId, eventId } }: Found) =>
    causationId === undefined || causationId === eventId || !ids.has(causationId)
  const effects = Map.groupBy(sorted, ({ row }) => row.causationId)
  const seen = new Set<Found>()
  const nodeOf = (one: Found): TraceNode => {
    seen.add(one)
    const caused = (effects.get(one.row.eventId) ?? []).flatMap((next) =>
      seen.has(next) ? [] : [nodeOf(next)],
    )
    return { row: one.row, buses: one.buses, groups: one.groups, caused }
  }
  const roots = sorted.filter(isRoot).map(nodeOf)
  // Causes that form a circle have no root.
  for (const one of sorted) if (!seen.has(one)) roots.push(nodeOf(one))
  return { roots, events: found.length }
}
