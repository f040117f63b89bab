import { HistoryUnavailableError } from '../../../transport/index.ts'
import type { Reading } from '../../background-reads.ts'
import { card, counted, empty, numberText } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import type { Page } from '../../route.ts'
import { filterBox, filterOf, type GivenFilter } from './event-filter.ts'
import { EventReads, type EventSearch, MAX_SCANNED, PAGE_SIZE, type SearchQuery } from './event-reads.ts'
import { eventTable } from './event-table.ts'
import { showsText } from './payload.ts'

/** Between two reads of the page, in seconds: during a search, and of the newest events. */
const REFRESH = { busy: 1, idle: 5 }

/** The events of a bus, newest first, or those that match a filter. */
export async function listPage(context: RequestContext): Promise<Page> {
  const given = filterOf(context)
  if (given.problem !== undefined) return { ...pageOf(filterBox(context, 'events', given)), status: 400 }
  const from = context.query.get('from') || undefined
  const { text: line, filter = {} } = given
  const isShown: SearchQuery['isShown'] = (found) => showsText(found, filter.text, context.mask)
  const query: SearchQuery = { bus: context.busName, filter, line, from, isShown }
  try {
    const found = await readingOf(context, query)
    const isNewest = line === '' && from === undefined
    return {
      ...pageOf(html`${filterBox(context, 'events', given)}${listCard(context, given, found)}`),
      ...(!found.isComplete && { refreshSeconds: REFRESH.busy }),
      ...(found.isComplete && isNewest && { refreshSeconds: REFRESH.idle }),
    }
  } catch (error) {
    if (!(error instanceof HistoryUnavailableError)) throw error
    return pageOf(card('Events', empty('This bus keeps no past events', context.mask.text(error.message))))
  }
}

function pageOf(main: Html): Page {
  return { title: 'Events', section: 'events', main: html`<div class="head"><h1>Events</h1></div>${main}` }
}

/** With `stop`, the search is cancelled, and what it has found so far is shown. */
async function readingOf(context: RequestContext, query: SearchQuery): Promise<Reading<EventSearch>> {
  const reads = context.state(EventReads.key)
  if (context.query.get('stop') === null) return reads.search(context.bus, query)
  const value = (await reads.stop(query)) ?? NOTHING
  return { value: { ...value, ended: 'aborted' }, isComplete: true, readAt: undefined }
}

const NOTHING: EventSearch = { rows: [], scanned: 0, total: undefined, position: undefined, ended: undefined }

function listCard(context: RequestContext, given: GivenFilter, found: Reading<EventSearch>): Html {
  const { value = NOTHING, isComplete } = found
  const { rows } = value
  const body = html`${!isComplete && scanBar(context, value)}
${rows.length > 0 ? eventTable(context, rows) : nothingFound(given, found)}
${pager(context, value)}`
  return card('Newest first', body, html`<p class="quiet small" role="status">${windowOf(found)}</p>`)
}

function scanBar({ links }: RequestContext, { scanned, total = MAX_SCANNED }: EventSearch): Html {
  const most = Math.max(1, Math.min(total, MAX_SCANNED))
  return html`<div class="scan"><progress max="${most}" value="${Math.min(scanned, most)}" aria-label="Searching"></progress>
<p><a class="button" href="${links.here({ stop: 'yes' })}">Cancel the search</a></p></div>`
}

/** How far the search went, and why it ended. */
function windowOf({ value = NOTHING, isComplete }: Reading<EventSearch>): string {
  const { scanned, total, ended } = value
  const of = total === undefined ? '' : ` of ${numberText(Math.max(total, scanned))}`
  const read = `scanned ${numberText(scanned)}${of}`
  if (!isComplete) return `searching: ${read} so far`
  if (ended === 'aborted') return `cancelled: ${read}`
  if (ended === 'maxScanned') return `${read}; one page scans at most ${numberText(MAX_SCANNED)}`
  return ended === 'end' ? `${read}; there are no more` : read
}

function nothingFound({ text }: GivenFilter, { value = NOTHING, isComplete }: Reading<EventSearch>): Html {
  if (!isComplete) return empty('The events are being searched', 'What is found appears here.')
  if (value.ended === 'aborted') return empty('The search was cancelled')
  if (text === '') return empty('No events', 'Nothing was published yet, or the bus has forgotten it.')
  return value.ended === 'end'
    ? empty('No event matches', html`The filter is ${foreign(text)}.`)
    : empty('No event matches so far', 'Older events were not searched yet.')
}

function pager({ links, query }: RequestContext, { rows, position, ended }: EventSearch): Html | undefined {
  const isOver = ended === undefined || ended === 'end' || position === undefined
  const next = isOver ? undefined : links.here({ from: position, stop: undefined })
  const isFirst = query.get('from') === null
  return html`<nav class="pages" aria-label="Pages"><span>${counted(rows.length, 'event')} shown</span>
${!isFirst && html`<a href="${links.here({ from: undefined, stop: undefined })}">Newest</a>`}
${query.get('stop') !== null && html`<a href="${links.here({ stop: undefined })}">Search again</a>`}
${next !== undefined && html`<a rel="next" href="${next}">${rows.length < PAGE_SIZE ? 'Search on' : 'Next page'}</a>`}</nav>`
}
