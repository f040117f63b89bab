import { BusWatch } from '../bus-watch.ts'
import type { RequestContext } from '../context.ts'
import { foreign, html } from '../html.ts'
import type { Done, Page, Route } from '../route.ts'

/** The consumer groups of a bus: pause, resume, move, delete. */
export const groups: readonly Route[] = [
  { method: 'GET', path: '/:bus/groups', verb: 'see', handle: list },
  {
    method: 'POST',
    path: '/:bus/groups/:group/pause',
    verb: 'operate',
    action: 'groups.pause',
    handle: pause,
  },
]

async function list(context: RequestContext): Promise<Page> {
  const { groups: all = [] } = await context.state(BusWatch.key).view(context.busName)
  return {
    title: 'Groups',
    section: 'groups',
    refreshSeconds: 5,
    main: html`<h1>Groups</h1><ul>${all.map(({ name }) => html`<li>${foreign(name)}</li>`)}</ul>`,
  }
}

async function pause(context: RequestContext): Promise<Done> {
  const group = context.param('group')
  await context.ask(context.bus.admin.pause(group, context.actor))
  return { goTo: context.links.bus(['groups']), text: `Paused ${group}.` }
}
