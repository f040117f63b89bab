import type { GroupInfo } from '../../transport/index.ts'
import type { BusView } from '../bus-watch.ts'
import { SHOWN_MS } from '../bus-watch.ts'
import { age, badge, number, numberText, table, when } from '../components.ts'
import type { RequestContext } from '../context.ts'
import { foreign, type Html, html } from '../html.ts'
import { quoted } from '../quoted.ts'
import { sparkline } from '../sparkline.ts'
import { cut } from './letters/format.ts'

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
export function groupTable(groups: readonly SeenGroup[], context: RequestContext): Html {
  const { links } = context
  return table({
    caption: 'Consumer groups',
    rows: groups,
    id: ({ name }) => `group-${name}`,
    columns: [
      {
        label: 'Group',
        kind: 'main',
        cell: ({ name }) => html`<a href="${links.bus(['groups', name])}">${foreign(cut(name, 120))}</a>`,
      },
      { label: 'State', cell: stateOf },
      { label: 'Lag', kind: 'number', cell: ({ lag }) => number(lag) },
      {
        label: '15 minutes',
        kind: 'narrow',
        cell: (group) =>
          sparkline(group.samples, {
            spanMs: SHOWN_MS,
            label: `Lag of ${group.name}`,
            level: levelOf(group),
          }),
      },
      { label: 'In flight', kind: 'number', cell: ({ inFlight }) => number(inFlight) },
      { label: 'Oldest', kind: 'number', cell: ({ oldestUnsettledAt }) => age(oldestUnsettledAt) },
      { label: 'Retrying', kind: 'number', cell: ({ retriesWaiting }) => number(retriesWaiting) },
      {
        label: 'Dead letters',
        kind: 'number',
        cell: ({ name, deadLetters }) => deadLink(name, deadLetters, context),
      },
      {
        label: 'Consumers',
        kind: 'number',
        cell: ({ members }) => (members === 0 ? html`<span class="warm">0</span>` : number(members)),
      },
    ],
  })
}

/** What its chart says by its color. */
function levelOf({ paused, members, lag }: GroupInfo): 'warn' | 'bad' | undefined {
  if (paused !== undefined) return 'warn'
  return members === 0 && lag !== 0 ? 'bad' : undefined
}

/** The number of dead letters of a group, which leads to them. */
export function deadLink(name: string, count: number, context: RequestContext): Html {
  const href = deadLettersOf(context, name)
  if (count === 0) return html`<span class="none">0</span>`
  if (href === undefined) return html`<span class="hot">${numberText(count)}</span>`
  return html`<a class="hot" href="${href}">${numberText(count)}</a>`
}

/** Where the dead letters of a group, or of all, are; undefined if the page does not show them. */
export function deadLettersOf(context: RequestContext, group?: string): string | undefined {
  if (!context.has('dead-letters')) return undefined
  return context.links.bus(['dead-letters'], { filter: group && `group:${quoted(group)}` })
}

/** What the group does now. */
export function stateOf({ paused, members, lag, retriesWaiting }: GroupInfo): Html {
  if (paused !== undefined) return html`<span title="by ${paused.by}">${badge('paused', 'warn')}</span>`
  if (members === 0) return badge('no consumer', lag === 0 ? 'warn' : 'bad')
  if (lag === 0 && retriesWaiting === 0) return badge('up to date', 'good')
  return badge('consuming', 'accent')
}
