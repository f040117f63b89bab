import type { BrowsedEvent } from '../../../browsing/index.ts'
import type { SearchReport } from '../../../bus/index.ts'
import type { Reading } from '../../background-reads.ts'
import { age, card, empty, numberText, when } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { HttpError } from '../../http-error.ts'
import { quoted } from '../../quoted.ts'
import type { Page } from '../../route.ts'
import { cut, trail } from '../letters/format.ts'
import { jsonTree } from '../letters/json-tree.ts'
import { EventReads, type Explanation } from './event-reads.ts'
import { groupStates, isOpen, letterLine } from './group-states.ts'
import { payloadOf } from './payload.ts'
import { traceCard } from './trace-view.ts'

/** Most headers that are shown. */
const MAX_HEADERS = 100
/** The search for an event that a list has shown starts this long behind it, in milliseconds. */
const MARGIN_MS = 1000
/** An event that is found by reading more is not searched again by itself. */
const MAX_REREAD = 5000
const REFRESH = { busy: 1, open: 3, idle: 10 }

/** One event: when it was published, what each group has done with it, and what it has caused. */
export async function eventPage(context: RequestContext): Promise<Page> {
  const id = context.param('event')
  const aggregateId = context.query.get('aggregate') || undefined
  const from = startOf(context)
  const found = await context.state(EventReads.key).explanation(context.bus, {
    ...{ bus: context.busName, id },
    ...(aggregateId !== undefined && { aggregateId }),
    ...(from !== undefined && { from }),
  })
  const { value } = found
  if (value === undefined)
    return { ...pageOf(context, id, undefined, searching()), refreshSeconds: REFRESH.busy }
  if (isNowhere(value)) return unknownPage(context, id, value.search)
  const trace = await traceCard(context, value)
  return {
    ...pageOf(
      context,
      id,
      value.published,
      html`${groupsCard(context, value)}${trace.card}${body(context, value)}`,
    ),
    ...refreshOf(found, trace.isComplete),
  }
}

/** Where the search for the event starts, if a list has shown its time. @throws HttpError 400 */
function startOf({ query }: RequestContext): Date | undefined {
  const at = query.get('at')
  if (at === null) return undefined
  const from = new Date(Number(at) + MARGIN_MS)
  if (Number.isNaN(from.getTime())) throw new HttpError(400, 'The time of the event in the URL is wrong.')
  return from
}

function pageOf(
  { links }: RequestContext,
  id: string,
  published: BrowsedEvent | undefined,
  main: Html,
): Page {
  const { eventType = 'Event', aggregateId = '' } = published ?? {}
  return {
    title: `Event ${cut(id, 60)}`,
    section: 'events',
    main: html`${trail([{ href: links.bus(['events']), text: 'Events' }])}
<div class="head"><h1>${foreign(cut(eventType, 120))} <span class="quiet">${foreign(cut(aggregateId, 120))}</span></h1></div>
${main}`,
  }
}

function searching(): Html {
  return card('Event', empty('The event is being searched', 'It appears here in a moment.'))
}

/** True if nothing is known of the event. */
function isNowhere({ published, deadLetters, groups }: Explanation): boolean {
  return (
    published === undefined &&
    deadLetters.length === 0 &&
    groups.every(({ state, waits }) => ['settled', 'unknown'].includes(state) && waits.length === 0)
  )
}

function unknownPage(context: RequestContext, id: string, search: SearchReport): Page {
  const main = card(
    'Event',
    empty(
      'This event was not found',
      html`There is nothing with the id ${foreign(cut(id, 200))}: ${reportOf(context, search)}.`,
    ),
  )
  return { ...pageOf(context, id, undefined, main), status: 404 }
}

function reportOf({ mask }: RequestContext, { scanned, total, ended, remark }: SearchReport): string {
  if (ended === 'unavailable')
    return `the bus keeps no past events. ${mask.text(remark?.replace(/\.$/, '') ?? '')}`
  const of = total === undefined ? '' : ` of ${numberText(Math.max(total, scanned))}`
  return `Events searched: ${numberText(scanned)}${of}, the newest first`
}

function groupsCard(context: RequestContext, { groups: all, deadLetters }: Explanation): Html {
  const groups = all.filter(({ group }) => context.can('see', group))
  const others = deadLetters.filter(({ consumerGroup }) => consumerGroup === undefined)
  return card(
    'Consumer groups',
    html`${groups.length > 0 ? groupStates(context, groups) : empty('No consumer group', 'No group of this bus has consumed yet, or this bus runs its handlers itself.')}
${others.length > 0 && html`<div class="body">${others.map((letter) => letterLine(context, letter))}</div>`}`,
  )
}

function body(context: RequestContext, value: Explanation): Html {
  const { published } = value
  const mayRead = context.can('read')
  return html`<div class="columns">
${card('Published', html`<div class="body">${publishedOf(context, value)}</div>`)}
<div class="stack-of-cards">
${published !== undefined && card('Payload', html`<div class="body">${mayRead ? payload(context, published) : html`<p class="quiet">You may not see payloads: this needs the role read.</p>`}</div>`)}
${published !== undefined && mayRead && card('Headers', html`<div class="body">${headersOf(context, published)}</div>`)}
</div></div>`
}

function publishedOf(context: RequestContext, { eventId, published, search }: Explanation): Html {
  const { links } = context
  if (published === undefined)
    return html`<p>The event itself was not found: ${reportOf(context, search)}.</p>`
  const { storedAt, occurredAt, position, partition, aggregateId, aggregateType } = published
  const { correlationId, causationId, tenantId } = published
  const filterLink = (key: string, value: string | undefined) =>
    value === undefined
      ? foreign(undefined)
      : html`<a href="${links.bus(['events'], { filter: `${key}:${quoted(value)}` })}">${foreign(cut(value, 200))}</a>`
  const isCaused = causationId !== undefined && causationId !== eventId
  return html`<dl class="facts">
<dt>Stored</dt><dd>${when(storedAt)}${storedAt !== undefined && html` <span class="quiet">(${age(storedAt)} ago)</span>`}</dd>
<dt>Occurred</dt><dd>${when(occurredAt)}</dd>
<dt>Aggregate</dt><dd>${filterLink('aggregate', aggregateId)} <span class="quiet">${foreign(cut(aggregateType ?? '', 100))}</span></dd>
<dt>Event</dt><dd><code>${foreign(cut(eventId, 200))}</code></dd>
<dt>Correlation</dt><dd><code>${filterLink('correlation', correlationId)}</code></dd>
${isCaused && html`<dt>Caused by</dt><dd><code><a href="${links.bus(['events', causationId])}">${foreign(cut(causationId, 200))}</a></code></dd>`}
${tenantId !== undefined && html`<dt>Tenant</dt><dd>${filterLink('tenant', tenantId)}</dd>`}
<dt>Position</dt><dd><code>${foreign(position)}</code>${partition !== undefined && html` <span class="quiet">partition ${partition}</span>`}</dd>
</dl>`
}

function payload({ bus, mask }: RequestContext, published: BrowsedEvent): Html {
  const value = payloadOf(published, bus, mask)
  return value === undefined
    ? html`<p class="quiet">The body is no event that can be decoded.</p>`
    : jsonTree(value)
}

function headersOf({ mask }: RequestContext, { headers }: BrowsedEvent): Html {
  const entries = Object.entries(mask.headers(headers))
  if (entries.length === 0) return html`<p class="quiet">It has no headers.</p>`
  const rest = entries.length - MAX_HEADERS
  return html`<dl class="facts">${entries
    .slice(0, MAX_HEADERS)
    .map(
      ([name, value]) =>
        html`<dt>${foreign(cut(name, 200))}</dt><dd><code>${foreign(cut(value, 1000))}</code></dd>`,
    )}</dl>${rest > 0 && html`<p class="quiet">and ${numberText(rest)} more</p>`}`
}

function refreshOf(
  { value, isComplete }: Reading<Explanation>,
  isTraced: boolean,
): Pick<Page, 'refreshSeconds'> {
  if (!isComplete || !isTraced) return { refreshSeconds: REFRESH.busy }
  const { groups = [], search } = value ?? {}
  if ((search?.scanned ?? 0) > MAX_REREAD) return {}
  return { refreshSeconds: groups.some(isOpen) ? REFRESH.open : REFRESH.idle }
}
