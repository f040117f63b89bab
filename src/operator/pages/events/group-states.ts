import type { ExplainedGroup } from '../../../bus/index.ts'
import { badge, number, table } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { cut, names } from '../letters/format.ts'
import { viewOf } from '../letters/letter-view.ts'

type State = ExplainedGroup['state']

/** What a state is called, and how it looks. */
export const STATES: Readonly<Record<State, readonly [text: string, level: Parameters<typeof badge>[1]]>> = {
  waiting: ['waiting', 'accent'],
  inFlight: ['in flight', 'accent'],
  unsettled: ['not settled', 'accent'],
  retrying: ['retrying', 'warn'],
  settled: ['done', 'good'],
  deadLetter: ['dead letter', 'bad'],
  unknown: ['unknown', undefined],
}

/** True while a group still has work with the event. */
export function isOpen({ state, hasOpenReplay }: Pick<ExplainedGroup, 'state' | 'hasOpenReplay'>): boolean {
  return hasOpenReplay === true || ['waiting', 'inFlight', 'unsettled', 'retrying'].includes(state)
}

/** What each consumer group has done with an event. */
export function groupStates(context: RequestContext, groups: readonly ExplainedGroup[]): Html {
  const { links } = context
  return table<ExplainedGroup>({
    caption: 'Consumer groups',
    rows: groups,
    id: ({ group }) => `group-${group}`,
    columns: [
      {
        label: 'Group',
        kind: 'main',
        cell: ({ group }) => html`<a href="${links.bus(['groups', group])}">${foreign(cut(group, 60))}</a>`,
      },
      {
        label: 'State',
        kind: 'narrow',
        cell: ({ state, isReplay }) =>
          html`${badge(...STATES[state])}${isReplay && html` ${badge('replay')}`}`,
      },
      { label: 'Attempts', kind: 'number', cell: ({ attempts }) => number(attempts) },
      { label: 'Details', kind: 'wide', cell: (group) => detailsOf(context, group) },
    ],
  })
}

function detailsOf(context: RequestContext, group: ExplainedGroup): Html {
  const { consumer, settledHandlers, waits, remark } = group
  // Without a line break between them: on a small screen, an empty cell is hidden.
  return html`${[
    settledHandlers.length > 0 && html`<div>${names(settledHandlers)} succeeded</div>`,
    ...waits.map(
      ({ handlerName, attempts, dueAt }) =>
        html`<div>${names([handlerName])} has failed ${attempts}×${dueAt === undefined ? ', and waits behind an earlier event' : html`; next attempt at ${dueAt.toISOString().slice(0, 19).replace('T', ' ')}`}</div>`,
    ),
    ...group.deadLetters.map((letter) => letterLine(context, letter)),
    consumer !== undefined &&
      html`<div class="small">consumer <span class="mono">${foreign(cut(consumer, 100))}</span></div>`,
    remark !== undefined && html`<div class="small quiet">${foreign(remark)}</div>`,
  ]}`
}

/** A dead letter, with its handlers and its error. */
export function letterLine(
  { links, deadLetters, mask }: RequestContext,
  letter: ExplainedGroup['deadLetters'][number],
): Html {
  const error = deadLetters === undefined ? '' : viewOf(letter, deadLetters, mask).error
  const { id, handlerNames = [] } = letter
  return html`<div class="letter"><a href="${links.bus(['dead-letters', id])}">dead letter</a>${handlerNames.length > 0 && html` of ${names(handlerNames)}`}: <span class="error-text">${foreign(cut(error, 200))}</span></div>`
}
