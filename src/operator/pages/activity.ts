import type { OperatorAuditEntry } from '../activity.ts'
import { badge, card, empty, number, table, when } from '../components.ts'
import type { RequestContext } from '../context.ts'
import { foreign, type Html, html } from '../html.ts'
import type { Page, Route } from '../route.ts'

/** The changes that were made in this page. */
export const activity: readonly Route[] = [
  { method: 'GET', path: '/:bus/activity', verb: 'see', handle: list },
]

async function list(context: RequestContext): Promise<Page> {
  const { busName } = context
  const shown = context.activity
    .list()
    .filter(({ bus, target }) => bus === busName && context.can('see', groupOf(target)))
    .slice(0, 200)
  return {
    title: 'Activity',
    section: 'activity',
    refreshSeconds: 5,
    main: html`<div class="head"><h1>Activity</h1></div>
<p class="quiet">The changes that were made in this page since its program started, newest first. The option <code>audit</code> keeps them.</p>
${shown.length === 0 ? card('Changes', empty('Nothing was changed yet')) : html`<section class="card">${changes(shown)}</section>`}`,
  }
}

function groupOf(target: OperatorAuditEntry['target']): string | undefined {
  const { group } = target
  return typeof group === 'string' ? group : undefined
}

function changes(shown: readonly OperatorAuditEntry[]): Html {
  return table({
    caption: 'Changes',
    rows: shown,
    id: ({ id }) => `change-${id}`,
    columns: [
      { label: 'When', kind: 'narrow', cell: ({ at }) => when(at) },
      { label: 'Who', cell: ({ by }) => foreign(by) },
      { label: 'What', kind: 'main', cell: ({ action }) => html`<span class="mono">${action}</span>` },
      { label: 'Target', kind: 'wide', cell: ({ target }) => targetText(target) },
      { label: 'Count', kind: 'number', cell: ({ count }) => number(count) },
      { label: 'Why', kind: 'wide', cell: ({ why }) => foreign(why) },
      {
        label: 'Outcome',
        kind: 'wide',
        cell: ({ state, text }) =>
          html`${badge(state, LEVELS[state])} ${text !== undefined && html`<span class="small quiet">${foreign(text)}</span>`}`,
      },
    ],
  })
}

const LEVELS = { started: 'accent', done: 'good', failed: 'bad', refused: 'warn' } as const

function targetText(target: OperatorAuditEntry['target']): Html {
  const parts = Object.entries(target).filter(([, value]) => value !== undefined && value !== '')
  return html`${parts.map(([name, value]) => html`<span class="mono small"><span class="quiet">${name}:</span>${foreign(typeof value === 'string' ? value : JSON.stringify(value))}</span> `)}`
}
