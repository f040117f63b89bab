import type { BusView } from '../bus-watch.ts'
import { BusWatch, SHOWN_MS } from '../bus-watch.ts'
import { age, card, counted, empty, number, numberText, when } from '../components.ts'
import type { RequestContext } from '../context.ts'
import { foreign, type Html, html } from '../html.ts'
import { HttpError } from '../http-error.ts'
import type { Page, Route } from '../route.ts'
import { sparkline } from '../sparkline.ts'
import { deadLettersOf, groupTable, type SeenGroup, seenGroups, staleNotice } from './group-table.ts'
import { type CommonError, commonErrors } from './letters/common-errors.ts'
import { cut } from './letters/format.ts'

const NONE: CommonErrors = new Map()

/** The start page, and the overview of one bus. */
export const overview: readonly Route[] = [
  { method: 'GET', path: '/', verb: [], handle: start },
  { method: 'GET', path: '/:bus', verb: 'see', handle: busOverview },
]

/** Leads to the first bus that the viewer may see. */
async function start({ buses, links, canSeeBus }: RequestContext): Promise<Response> {
  const first = [...buses.keys()].find(canSeeBus)
  if (first === undefined) throw new HttpError(403, 'You may not see any bus of this page.')
  return new Response(null, { status: 302, headers: { location: links.to([first]) } })
}

async function busOverview(context: RequestContext): Promise<Page> {
  const view = await context.state(BusWatch.key).view(context.busName)
  const groups = seenGroups(view, context)
  const errors = groups.some(({ deadLetters }) => deadLetters > 0) ? await commonErrors(context) : NONE
  return {
    title: 'Overview',
    section: 'overview',
    refreshSeconds: 3,
    main: html`<h1 class="hidden">Overview of ${cut(context.busName, 200)}</h1>
${staleNotice(view)}
${groups.length > 0 && tiles(groups, context)}
${groups.length > 0 && notices(groups, errors, context)}
${view.groups !== undefined && card('Consumer groups', groups.length > 0 ? groupTable(groups, context) : noGroups(view))}`,
  }
}

function noGroups(view: BusView): Html {
  return view.isInMemory
    ? empty('This bus runs its handlers in its own process', 'It has no consumer groups and no broker.')
    : empty('No consumer group yet', 'A group appears here as soon as a consumer has started.')
}

function tiles(groups: readonly SeenGroup[], context: RequestContext): Html {
  const { links } = context
  const waiting = sum(groups.map(({ lag }) => lag))
  const dead = Math.max(
    0,
    ...groups.map(({ deadLetters }) => deadLetters),
    sum(groups.map((one) => one.deadLetters)) ?? 0,
  )
  const times = groups.flatMap(({ oldestUnsettledAt }) => oldestUnsettledAt?.getTime() ?? [])
  const oldest = times.length === 0 ? undefined : new Date(Math.min(...times))
  const consumers = sum(groups.map(({ members }) => members))
  const idle = groups.filter(({ members }) => members === 0).length
  return html`<div class="tiles">
${tile('Waiting events', waiting === undefined ? 'unknown' : numberText(waiting), `in ${counted(groups.length, 'group')}`, links.bus(['groups']), undefined, waitingChart(groups))}
${tile('Oldest event', oldest === undefined ? 'none' : age(oldest), oldest === undefined ? 'all are handled' : 'not yet handled', links.bus(['groups']))}
${tile('Dead letters', numberText(dead), dead === 0 ? 'all is well' : 'need a decision', deadLettersOf(context) ?? links.bus(['groups']), dead === 0 ? undefined : 'bad')}
${tile('Consumers', number(consumers), idle === 0 ? 'every group has one' : `${counted(idle, 'group')} without one`, links.bus(['groups']))}
</div>`
}

function tile(
  label: string,
  value: Parameters<typeof card>[1],
  note: string,
  href: string,
  level?: 'bad',
  chart?: Html,
): Html {
  return html`<a class="tile ${level}" href="${href}"><span class="label">${label}</span><span class="value">${value}</span><span class="note">${note}</span>${chart}</a>`
}

/** The events that waited in the last 15 minutes, in all groups together. */
function waitingChart(groups: readonly SeenGroup[]): Html {
  const [{ samples = [] } = {}] = groups
  const totals = samples.map(({ at }, n) => ({
    at,
    value: sum(groups.map((group) => group.samples[n]?.value)),
  }))
  return sparkline(totals, { spanMs: SHOWN_MS, label: 'Waiting events' })
}

/** What an operator should look at, the worst first. */
function notices(
  groups: readonly SeenGroup[],
  errors: CommonErrors,
  context: RequestContext,
): Html | undefined {
  const found = groups.flatMap((group) => noticesOf(group, errors, context))
  if (found.length === 0) return undefined
  return html`<section class="card" aria-label="What needs attention"><ul class="notices">${found
    .toSorted((a, b) => a.rank - b.rank)
    .slice(0, 12)
    .map(
      ({ level, text, link, href }) =>
        html`<li class="notice ${level}"><span class="dot" aria-hidden="true"></span><span class="what">${text}</span><a class="go" href="${href}">${link}</a></li>`,
    )}</ul></section>`
}

type CommonErrors = ReadonlyMap<string, CommonError>

interface Notice {
  readonly rank: number
  readonly level: 'bad' | 'warn'
  readonly text: Html
  readonly link: string
  readonly href: string
}

function noticesOf(group: SeenGroup, errors: CommonErrors, context: RequestContext): readonly Notice[] {
  const { name, lag, members, deadLetters, paused, oldestUnsettledAt } = group
  const link = { link: 'Look at the group', href: context.links.bus(['groups', name]) }
  const found: Notice[] = []
  if (deadLetters > 0) {
    const href = deadLettersOf(context, name)
    const text = html`<strong>${foreign(name)}</strong> has ${counted(deadLetters, 'dead letter')}${commonError(deadLetters, errors.get(name))}`
    found.push({
      rank: 1,
      level: 'bad',
      text,
      ...(href === undefined ? link : { link: 'Look at the errors', href }),
    })
  }
  if (paused !== undefined) {
    const why = paused.why === undefined ? '' : html`: ${foreign(paused.why)}`
    const text = html`<strong>${foreign(name)}</strong> has been paused by ${foreign(paused.by)} for ${age(paused.at)}${why}.`
    found.push({ rank: 2, level: 'warn', text, ...link })
  } else if (members === 0 && lag !== 0) {
    const oldest = oldestUnsettledAt === undefined ? '' : html`, the oldest for ${age(oldestUnsettledAt)}`
    const waits =
      lag === undefined ? 'Events wait' : `${counted(lag, 'event')} ${lag === 1 ? 'waits' : 'wait'}`
    const text = html`Nobody consumes for <strong>${foreign(name)}</strong>. ${waits}${oldest}.`
    found.push({ rank: 0, level: 'bad', text, ...link })
  }
  return found
}

/** Continues a sentence with the most frequent error. */
function commonError(deadLetters: number, common: CommonError | undefined): Html {
  if (common === undefined) return html`.`
  const { count, counted: all, firstAt, error } = common
  const share =
    count >= deadLetters ? 'all' : html`${all === deadLetters ? '' : 'at least '}${numberText(count)}`
  return html`, ${deadLetters === 1 ? '' : html`${share} of one error `}since ${when(firstAt)}: <span class="error-text">${foreign(cut(error, 160))}</span>`
}

function sum(numbers: readonly (number | undefined)[]): number | undefined {
  const known = numbers.filter((one) => one !== undefined)
  return known.length === 0 ? undefined : known.reduce((total, one) => total + one, 0)
}
