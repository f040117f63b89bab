import type { GroupInfo } from '../../transport/index.ts'
import type { BusView } from '../bus-watch.ts'
import { SHOWN_MS } from '../bus-watch.ts'
import { age, badge, number, numberText, table, when } from '../components.ts'
import type { RequestContext } from '../context.ts'
import { foreign, type Html, html } from '../html.ts'
import { quoted } from '../quoted.ts'
import { sparkline } from '../sparkline.ts'

/** A group with its lag of the last 15 minutes. */
export interface SeenGroup extends GroupInfo {
  readonly samples: readonly { readonly at: number; readonly value: number | undefined }[]
}

/** The groups that the viewer may see. */
export function seenGroups({ groups = [], samples }: BusView, context: RequestContext): readonly SeenGroup[] {
  return groups
    .filter(({ name }) => context.can('see', name))
    .map((group) => ({
      ...group,
      samples: samples.map(({ at, lags }) => ({ at, value: lags.get(group.name) })),
    }))
}

/** Says that the numbers are old, while the broker is away. */
export function staleNotice({ problem, remedy, awaySince, answeredAt }: BusView): Html | undefined {
  if (problem === undefined) return undefined
  const old = answeredAt === undefined ? '' : html` The numbers are of ${when(answeredAt)}.`
  return html`<div class="callout bad" role="alert"><p><strong>The broker does not answer</strong> since ${when(awaySince)}. ${problem}${old}</p>${remedy !== undefined && html`<p>${remedy}</p>`}<p class="small">This page goes on by itself when it is back.</p></div>`
}

/** All groups of a bus. */
export function groupTable(groups: readonly SeenGroup[], { links }: RequestContext): Html {
  return table({
    caption: 'Consumer groups',
    rows: groups,
    id: ({ name }) => `group-${name}`,
    columns: [
      {
        label: 'Group',
        kind: 'main',
        cell: ({ name }) => html`<a href="${links.bus(['groups', name])}">${foreign(name)}</a>`,
      },
      { label: 'State', cell: stateOf },
      { label: 'Lag', kind: 'number', cell: ({ lag }) => number(lag) },
      {
        label: '15 minutes',
        kind: 'narrow',
        cell: ({ name, samples }) => sparkline(samples, { spanMs: SHOWN_MS, label: `Lag of ${name}` }),
      },
      { label: 'In flight', kind: 'number', cell: ({ inFlight }) => number(inFlight) },
      { label: 'Oldest', kind: 'number', cell: ({ oldestUnsettledAt }) => age(oldestUnsettledAt) },
      { label: 'Retrying', kind: 'number', cell: ({ retriesWaiting }) => number(retriesWaiting) },
      {
        label: 'Dead letters',
        kind: 'number',
        cell: ({ name, deadLetters }) => deadLink(name, deadLetters, links),
      },
      {
        label: 'Consumers',
        kind: 'number',
        cell: ({ members }) => (members === 0 ? html`<span class="warm">0</span>` : number(members)),
      },
    ],
  })
}

export function deadLink(name: string, count: number, links: RequestContext['links']): Html {
  if (count === 0) return html`0`
  const href = links.bus(['dead-letters'], { filter: `group:${quoted(name)}` })
  return html`<a class="hot" href="${href}">${numberText(count)}</a>`
}

/** What the group does now. */
export function stateOf({ paused, members, lag, retriesWaiting }: GroupInfo): Html {
  if (paused !== undefined) return html`<span title="by ${paused.by}">${badge('paused', 'warn')}</span>`
  if (members === 0) return badge('no consumer', lag === 0 ? 'warn' : 'bad')
  if (lag === 0 && retriesWaiting === 0) return badge('up to date', 'good')
  return badge('consuming', 'accent')
}
