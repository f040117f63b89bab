import type { BrowsedEvent, BrowseProgress } from '../../browsing/index.ts'
import { EXIT, type ExitCode, NotFoundError } from '../exit-code.ts'
import { plain } from '../table.ts'
import { dataOf, type Invocation, Progress, withLog } from './run-events.ts'

/** How long before the event its causes may be, in milliseconds. */
const BEFORE_MS = 3_600_000
const MAX_EVENTS = 1000

/** An event in the tree of its causes. */
interface Node {
  readonly event: BrowsedEvent
  readonly depth: number
}

export async function traceEvent(
  invocation: Invocation,
  id: string,
  search: {
    readonly aggregateId: string | undefined
    readonly maxScanned: number
    readonly from: Date | undefined
  },
): Promise<ExitCode> {
  const { options, terminal } = invocation
  const { aggregateId, maxScanned } = search
  const progress = new Progress(terminal)
  const common = { maxScanned, onProgress: progress.note, signal: terminal.interrupted }
  return withLog(invocation, async (log) => {
    const start = await log.find(id, { ...common, ...(aggregateId !== undefined && { aggregateId }) })
    if (start === undefined) {
      throw new NotFoundError(`There is no event ${JSON.stringify(id)}: ${progress.end}.`)
    }
    const from = search.from ?? before(start)
    const { correlationId } = start
    const filter = correlationId === undefined ? { eventId: id } : { correlationId }
    const found: BrowsedEvent[] = []
    let last: BrowseProgress | undefined
    const onProgress = (current: BrowseProgress) => {
      last = current
      progress.note(current)
    }
    const query = { ...common, onProgress, filter, from, limit: MAX_EVENTS }
    for await (const event of log.browse(query)) found.push(event)
    if (!found.some(({ eventId }) => eventId === id)) found.unshift(start)
    const nodes = treeOf(found)
    if (options.json)
      await terminal.out(JSON.stringify({ version: 1, ...jsonOf(nodes, correlationId, last) }))
    else for (const { event, depth } of nodes) await terminal.out(lineOf(event, depth, id))
    const since = typeof from === 'string' ? from : from.toISOString()
    terminal.err(`correlation ${plain(correlationId ?? '-')}: ${progress.end}, from ${since} on`)
    return EXIT.done
  })
}

function before({ storedAt, occurredAt, position }: BrowsedEvent): Date | string {
  const at = storedAt ?? occurredAt
  return at === undefined ? position : new Date(at.getTime() - BEFORE_MS)
}

/** The events, each behind its cause. Those whose cause was not found are roots. */
function treeOf(found: readonly BrowsedEvent[]): readonly Node[] {
  const ids = new Set(found.map(({ eventId }) => eventId))
  const isRoot = ({ causationId, eventId }: BrowsedEvent) =>
    causationId === undefined || causationId === eventId || !ids.has(causationId)
  const effects = Map.groupBy(
    found.filter((event) => !isRoot(event)),
    ({ causationId }) => causationId,
  )
  const nodes: Node[] = []
  const seen = new Set<BrowsedEvent>()
  const add = (event: BrowsedEvent, depth: number) => {
    if (seen.has(event)) return
    seen.add(event)
    nodes.push({ event, depth })
    if (event.eventId === undefined) return
    const caused = effects.get(event.eventId) ?? []
    // A message that was published twice has its effects once.
    effects.delete(event.eventId)
    for (const effect of caused) add(effect, depth + 1)
  }
  for (const event of found.filter(isRoot)) add(event, 0)
  // Causes that form a circle have no root.
  for (const event of found) add(event, 0)
  return nodes
}

function lineOf(event: BrowsedEvent, depth: number, wanted: string): string {
  const { eventType, aggregateId, eventId, storedAt, occurredAt } = event
  const at = (storedAt ?? occurredAt)?.toISOString() ?? '-'
  const branch = depth === 0 ? '' : `${'   '.repeat(depth - 1)}└─ `
  const mark = eventId === wanted ? '  <' : ''
  return `${branch}${plain([eventType ?? '-', aggregateId ?? '-', at, eventId ?? '-'].join('  '))}${mark}`
}

function jsonOf(
  nodes: readonly Node[],
  correlationId: string | undefined,
  search: BrowseProgress | undefined,
) {
  const { scanned = 0, total, ended } = search ?? {}
  return {
    correlationId,
    events: nodes.map(({ event, depth }) => ({ depth, ...dataOf(event) })),
    search: { scanned, total, ended },
  }
}
