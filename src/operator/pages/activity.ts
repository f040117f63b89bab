import type { RequestContext } from '../context.ts'
import { foreign, html } from '../html.ts'
import type { Page, Route } from '../route.ts'

/** The changes that were made in this page. */
export const activity: readonly Route[] = [
  { method: 'GET', path: '/:bus/activity', verb: 'see', handle: list },
]

async function list({ activity: changes, busName }: RequestContext): Promise<Page> {
  const shown = changes.list().filter(({ bus }) => bus === busName)
  return {
    title: 'Activity',
    section: 'activity',
    refreshSeconds: 5,
    main: html`<h1>Activity</h1><ul>${shown.map(({ action, by }) => html`<li>${action} ${foreign(by)}</li>`)}</ul>`,
  }
}
