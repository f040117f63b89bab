import { BusWatch } from '../bus-watch.ts'
import type { RequestContext } from '../context.ts'
import { foreign, html } from '../html.ts'
import type { Page, Route } from '../route.ts'

/** The start page, and the overview of one bus. */
export const overview: readonly Route[] = [
  { method: 'GET', path: '/', verb: 'see', handle: (context) => Promise.resolve(start(context)) },
  { method: 'GET', path: '/:bus', verb: 'see', handle: busOverview },
]

function start({ buses, links }: RequestContext): Response {
  const [first = ''] = buses.keys()
  return new Response(null, { status: 302, headers: { location: links.to([first]) } })
}

async function busOverview(context: RequestContext): Promise<Page> {
  const { groups = [] } = await context.state(BusWatch.key).view(context.busName)
  return {
    title: 'Overview',
    section: 'overview',
    refreshSeconds: 5,
    main: html`<h1>Overview</h1><ul>${groups.map(({ name }) => html`<li>${foreign(name)}</li>`)}</ul>`,
  }
}
