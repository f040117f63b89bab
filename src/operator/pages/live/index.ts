import type { EventFilter } from '../../../browsing/index.ts'
import { HistoryUnavailableError } from '../../../transport/index.ts'
import { empty, table, when } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { HttpError } from '../../http-error.ts'
import { LiveReaders } from '../../live/live-readers.ts'
import type { Page, Route } from '../../route.ts'
import { filterBox, filterOf } from '../events/event-filter.ts'
import { EventReads } from '../events/event-reads.ts'
import type { EventRow } from '../events/event-row.ts'
import { eventLink } from '../events/event-table.ts'
import { showsText } from '../events/payload.ts'
import { cut } from '../letters/format.ts'

/** The events of a bus as they are published. Without a script, the page shows the last ones. */
export const live: readonly Route[] = [
  { method: 'GET', path: '/:bus/live', verb: 'see', handle: page },
  { method: 'GET', path: '/:bus/live/stream', verb: 'see', handle: stream },
]

async function page(context: RequestContext): Promise<Page> {
  const { links } = context
  const given = filterOf(context)
  const box = filterBox(context, 'live', given)
  if (given.problem !== undefined) return { ...pageOf(box), status: 400 }
  const { text: line, filter = {} } = given
  const rows = await lastEvents(context, line, filter)
  const payload = context.can('read') && html` data-payload`
  return pageOf(html`${box}
<section class="card live" aria-label="Live events" data-live="${links.bus(['live', 'stream'], { filter: line })}" data-events="${links.bus(['events'])}"${payload}>
<header class="live-bar"><h2><span data-part="state">The last events</span></h2><span data-part="seen"></span><svg class="spark" viewBox="0 0 120 28" preserveAspectRatio="none" aria-hidden="true"><path class="base" d="M0 26H120"/><path class="area" data-part="area"/><path class="line" data-part="line"/></svg><span class="quiet" data-part="sampled"></span><span class="warm" data-part="dropped"></span>
<button type="button" data-part="pause">Pause</button><noscript><a class="button" href="${links.here()}">Read again</a></noscript></header>
${eventRows(context, rows ?? [])}
${rows === undefined && html`<noscript>${empty('This bus keeps no past events', 'Live events need a script.')}</noscript>`}
</section>
<p class="quiet small">At most 200 events per second are shown; all are counted. Looking joins no consumer group, and reads nothing when nobody looks.</p>`)
}

function pageOf(main: Html): Page {
  return { title: 'Live', section: 'live', main: html`<div class="head"><h1>Live</h1></div>${main}` }
}

/** The last events that match; undefined if the bus keeps none. */
async function lastEvents(
  context: RequestContext,
  line: string,
  filter: EventFilter,
): Promise<readonly EventRow[] | undefined> {
  const isShown = (found: Parameters<typeof showsText>[0]) => showsText(found, filter.text, context.mask)
  try {
    const query = { bus: context.busName, filter, line, from: undefined, isShown }
    return (await context.state(EventReads.key).search(context.bus, query)).value?.rows ?? []
  } catch (error) {
    if (error instanceof HistoryUnavailableError) return undefined
    throw error
  }
}

function eventRows(context: RequestContext, rows: readonly EventRow[]): Html {
  const mayRead = context.can('read')
  return table<EventRow>({
    caption: 'Live events',
    rows,
    id: ({ position }) => `event-${position}`,
    columns: [
      { label: 'Event', kind: 'main', cell: (row) => eventLink(context, row) },
      { label: 'Time', kind: 'narrow', cell: ({ at }) => when(at) },
      {
        label: 'Aggregate',
        cell: ({ aggregateId }) => foreign(aggregateId === undefined ? undefined : cut(aggregateId, 120)),
      },
      ...(mayRead ? [{ label: 'Payload', kind: 'wide' as const, cell: () => foreign(undefined) }] : []),
    ],
  })
}

/** Frames of new events, as server-sent events. */
function stream(context: RequestContext): Promise<Response> {
  const given = filterOf(context)
  if (given.problem !== undefined) throw new HttpError(400, given.problem)
  const { text: line, filter = {} } = given
  const viewer = context.state(LiveReaders.key).watch({
    ...{ name: context.busName, bus: context.bus, filter, line },
    ...{ mask: context.mask, mayRead: context.can('read') },
  })
  context.signal.addEventListener('abort', () => viewer.end(), { once: true })
  if (context.signal.aborted) viewer.end()
  return Promise.resolve(
    new Response(viewer.stream, {
      headers: { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' },
    }),
  )
}
