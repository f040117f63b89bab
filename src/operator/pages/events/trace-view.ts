import type { Reading } from '../../background-reads.ts'
import { badge, card, counted, empty, when } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { mayDo } from '../../viewer.ts'
import { cut } from '../letters/format.ts'
import { EventReads, type Explanation } from './event-reads.ts'
import { eventLink } from './event-table.ts'
import { STATES } from './group-states.ts'
import { MAX_EXPLAINED, type ReachedGroup, type Trace, type TraceNode } from './trace.ts'

/** What lies deeper is listed without further steps. */
const MAX_DEPTH = 12

/** The tree of the events with the correlation of an event. */
export async function traceCard(
  context: RequestContext,
  { eventId: id, published }: Explanation,
): Promise<{ readonly card: Html | undefined; readonly isComplete: boolean }> {
  if (published === undefined) return { card: undefined, isComplete: true }
  const { correlationId, storedAt, occurredAt } = published
  const buses = new Map([...context.buses].filter(([name]) => context.canSeeBus(name)))
  const at = storedAt ?? occurredAt
  const reading = await context.state(EventReads.key).trace({ id, correlationId, at, buses })
  const body = html`<div class="body">${treeOf(context, reading, id)}</div>`
  const aside = html`<p class="quiet small" role="status">${windowOf(reading)}</p>`
  return { card: card('What belongs to it', body, aside), isComplete: reading.isComplete }
}

function windowOf({ value, isComplete }: Reading<Trace>): string {
  const { events = 0, unread = [], without = [] } = value ?? {}
  return [
    isComplete ? counted(events, 'event') : `searching: ${counted(events, 'event')} so far`,
    ...(unread.length > 0 ? [`not all of ${unread.join(', ')} was searched`] : []),
    ...(without.length > 0 ? [`${without.join(', ')} has no past events`] : []),
    ...(events > MAX_EXPLAINED ? [`groups of the first ${MAX_EXPLAINED}`] : []),
  ].join('; ')
}

function treeOf(context: RequestContext, { value }: Reading<Trace>, here: string): Html {
  if (value === undefined) return empty('The events of its correlation are being searched')
  return list(context, value.roots, here, 0)
}

function list(context: RequestContext, nodes: readonly TraceNode[], here: string, depth: number): Html {
  return html`<ul${depth === 0 && html` class="trace"`}>${nodes.map((node) => item(context, node, here, depth))}</ul>`
}

function item(context: RequestContext, node: TraceNode, here: string, depth: number): Html {
  const { row, buses, groups, caused } = node
  const isHere = row.eventId === here
  const line = html`<div class="node${isHere && ' here'}"${isHere && html` aria-current="true"`}>${eventLink(context, row, buses[0])}
<span class="quiet">${foreign(cut(row.aggregateId ?? '', 60))}</span> <span class="quiet small">${when(row.at)}</span>
${context.buses.size > 1 && buses.map((bus) => badge(bus))}
${groups !== undefined && html`<span class="reached">${groups.filter(({ bus, group }) => mayDo(context.viewer, 'see', { bus, group })).map((group) => reached(context, group))}</span>`}</div>`
  if (caused.length === 0) return html`<li>${line}</li>`
  return depth < MAX_DEPTH
    ? html`<li>${line}${list(context, caused, here, depth + 1)}</li>`
    : html`<li>${line}</li>${caused.map((one) => item(context, one, here, depth))}`
}

function reached({ links }: RequestContext, { bus, group, state, letter }: ReachedGroup): Html {
  const [text, level] = STATES[state]
  const mark = badge(`${cut(group, 40)}: ${text}`, level)
  return letter === undefined ? mark : html`<a href="${links.to([bus, 'dead-letters', letter])}">${mark}</a>`
}
