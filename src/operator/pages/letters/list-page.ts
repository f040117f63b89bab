import type { DeadLetter, DeadLetterGroup, SummaryProgress } from '../../../bus/index.ts'
import { DEAD_LETTER_KEYS, deadLetterLine, writeDeadLetterLine } from '../../../filter-line/index.ts'
import type { Reading } from '../../background-reads.ts'
import { badge, card, counted, empty, filterForm, numberText, table, when } from '../../components.ts'
import type { FilterOfQuery, RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { Jobs } from '../../jobs/jobs.ts'
import type { Page } from '../../route.ts'
import { errorOf } from './common-errors.ts'
import { cut, lettersOf, names } from './format.ts'
import { jobLines } from './job-view.ts'
import { LetterReads, PAGE_SIZE } from './letter-reads.ts'
import { viewOf } from './letter-view.ts'

/** Groups of one error that are shown. */
const MAX_GROUPS = 12
/** Between two reads of the page, in seconds: while something is still read or changed, and otherwise. */
const REFRESH = { busy: 1, idle: 10 }

type Filter = FilterOfQuery<ReturnType<typeof deadLetterLine>>
type Counts = Reading<SummaryProgress>

/** The dead letters of a bus: the filter, the errors, and the letters, newest first. */
export async function listPage(context: RequestContext): Promise<Page> {
  const given = context.filter(deadLetterLine)
  const { deadLetters: queue, busName: bus } = context
  if (queue === undefined) {
    return pageOf(
      context,
      empty('A bus in memory keeps no dead letters', 'It reports failures to the publisher.'),
    )
  }
  if (given.problem !== undefined) return { ...pageOf(context, filterOf(context, given)), status: 400 }
  const order = context.query.get('order') === 'oldest' ? 'oldest' : 'newest'
  const cursor = context.query.get('cursor') || undefined
  const query = { bus, filter: given.filter ?? {}, line: given.text, order, cursor } as const
  const reads = context.state(LetterReads.key)
  const [counts, list] = await Promise.all([reads.counts(queue, query), reads.list(queue, query)])
  const seen = list.value?.deadLetters.filter((letter) => context.can('see', letter.consumerGroup))
  const jobs = context.state(Jobs.key).of(bus).slice(0, 5)
  const isBusy = !counts.isComplete || !list.isComplete || jobs.some(({ isRunning }) => isRunning)
  const main = html`${filterOf(context, given)}
${jobLines(context, jobs)}
${(counts.value?.matched !== 0 || !counts.isComplete) && errorsCard(context, given, counts)}
${card(order === 'newest' ? 'Newest first' : 'Oldest first', html`${lettersTable(context, seen)}${pager(context, list.value?.cursor, seen?.length ?? 0, cursor)}`, orderLink(context, order))}`
  return {
    ...pageOf(context, main, verbs(context, given, counts)),
    refreshSeconds: isBusy ? REFRESH.busy : REFRESH.idle,
  }
}

function pageOf(_context: RequestContext, main: Html, aside?: Html): Page {
  return {
    title: 'Dead letters',
    section: 'dead-letters',
    main: html`<div class="head"><h1>Dead letters</h1>${aside}</div>${main}`,
  }
}

function filterOf({ links, query }: RequestContext, { text, problem }: Filter): Html {
  const order = query.get('order')
  return html`<div class="filtering">${filterForm({
    action: links.bus(['dead-letters']),
    text,
    problem,
    placeholder: 'group:billing error:TypeError since:2h',
    label: 'Filter of dead letters',
    fields: order !== null && html`<input type="hidden" name="order" value="${order}">`,
  })}<p class="quiet small">Keys: ${DEAD_LETTER_KEYS}.${text !== '' && html` <a href="${links.bus(['dead-letters'])}">Clear the filter</a>`}</p></div>`
}

function orderLink({ links }: RequestContext, order: 'oldest' | 'newest'): Html {
  const other = order === 'newest' ? 'oldest' : undefined
  return html`<a class="small" href="${links.here({ order: other, cursor: undefined })}">${other === undefined ? 'Newest first' : 'Oldest first'}</a>`
}

function errorsCard(context: RequestContext, given: Filter, counts: Counts): Html {
  const { value, isComplete } = counts
  const { groups: all = [], scanned = 0, total = 0 } = value ?? {}
  const groups = all.filter(({ consumerGroups }) => isSeen(context, consumerGroups))
  const shown = groups.slice(0, MAX_GROUPS)
  const rest = groups.length - shown.length
  const body = html`${!isComplete && html`<progress max="${Math.max(total, scanned, 1)}" value="${scanned}" aria-label="Counting"></progress>`}
${shown.length > 0 && errorTable(context, given, shown)}
${rest > 0 && html`<p class="pages">${counted(rest, 'more error is', 'more errors are')} not shown. A filter shows them.</p>`}`
  return card('By error', body, html`<p class="quiet small" role="status">${windowOf(given, counts)}</p>`)
}

/** False for an error of groups that the viewer may not see. */
function isSeen(context: RequestContext, groups: readonly string[]): boolean {
  return groups.length === 0 || groups.some((name) => context.can('see', name))
}

/** What the counts cover. */
function windowOf({ text }: Filter, { value, isComplete, readAt }: Counts): Html {
  const { matched = 0, scanned = 0, total = 0, isComplete: isWhole = false } = value ?? {}
  const all = numberText(Math.max(total, scanned))
  if (!isComplete)
    return html`counting: ${numberText(matched)} match, ${numberText(scanned)} of ${all} read so far`
  const count = html`${lettersOf(matched)}${text !== '' && ' match'}`
  return isWhole
    ? html`${count}; window: all ${numberText(scanned)}, read at ${when(readAt)}`
    : html`${count}; window: the oldest ${numberText(scanned)} of ${all}, read at ${when(readAt)}`
}

function errorTable(
  { links, mask }: RequestContext,
  { text, filter }: Filter,
  rows: readonly DeadLetterGroup[],
): Html {
  const errorCell = (group: DeadLetterGroup) => {
    const { key } = group
    const clean = errorOf(group, mask)
    const shown = html`<span class="error-text">${foreign(cut(clean, 300))}</span>`
    // A list of one error has one row. What has no error, or must not be shown, cannot be searched by it.
    if (filter?.errorSignature !== undefined || key.startsWith('(') || clean !== key) return shown
    const term = writeDeadLetterLine({ errorSignature: key })
    return html`<a href="${links.bus(['dead-letters'], { filter: text === '' ? term : `${text} ${term}` })}">${shown}</a>`
  }
  return table<DeadLetterGroup>({
    caption: 'Dead letters by error',
    rows,
    id: ({ sample }) => `error-${sample.id}`,
    columns: [
      { label: 'Letters', kind: 'number', cell: ({ count }) => numberText(count) },
      { label: 'Error', kind: 'main', cell: errorCell },
      { label: 'Handler', kind: 'narrow', cell: ({ handlerNames }) => names(handlerNames) },
      { label: 'Group', kind: 'narrow', cell: ({ consumerGroups }) => names(consumerGroups) },
      { label: 'First', kind: 'narrow', cell: ({ firstAt }) => when(firstAt) },
      { label: 'Last', kind: 'narrow', cell: ({ lastAt }) => when(lastAt) },
    ],
  })
}

function lettersTable(context: RequestContext, rows: readonly DeadLetter[] | undefined): Html {
  const { links, mask, deadLetters: queue, query } = context
  if (rows === undefined) {
    return empty(
      'The dead letters are being read',
      html`They appear here in a moment. <a href="${links.here()}">Look again</a>`,
    )
  }
  if (rows.length === 0) {
    return query.get('filter')
      ? empty('No dead letter matches', html`<a href="${links.bus(['dead-letters'])}">Clear the filter</a>`)
      : empty('No dead letters', 'Every event that was published has been handled, or is still on its way.')
  }
  const [filter, order] = [query.get('filter') ?? undefined, query.get('order') ?? undefined]
  const eventOf = ({ id, eventType, replayCount }: DeadLetter) =>
    html`<a href="${links.bus(['dead-letters', id], { filter, order })}">${foreign(cut(eventType ?? 'Not an event', 80))}</a>${replayCount > 0 && html` ${badge(`replayed ${replayCount}×`, 'warn')}`}`
  const textOf = (text: string | undefined) => foreign(text === undefined ? undefined : cut(text, 60))
  return table<DeadLetter>({
    caption: 'Dead letters',
    rows,
    id: ({ id }) => `letter-${id}`,
    columns: [
      { label: 'Event', kind: 'main', cell: eventOf },
      { label: 'Failed', kind: 'narrow', cell: ({ lastFailedAt }) => when(lastFailedAt) },
      { label: 'Aggregate', cell: ({ aggregateId }) => textOf(aggregateId) },
      { label: 'Handler', cell: ({ handlerNames }) => textOf(handlerNames?.join(', ') || undefined) },
      { label: 'Attempts', kind: 'number', cell: ({ attempts }) => foreign(attempts) },
      {
        label: 'Error',
        kind: 'wide',
        cell: (letter) =>
          queue !== undefined &&
          html`<span class="error-text">${foreign(cut(viewOf(letter, queue, mask).error, 160))}</span>`,
      },
    ],
  })
}

function pager(
  { links }: RequestContext,
  next: string | undefined,
  shown: number,
  cursor: string | undefined,
): Html | undefined {
  if (shown === 0 && cursor === undefined && next === undefined) return undefined
  const isShort = next !== undefined && shown < PAGE_SIZE
  return html`<nav class="pages" aria-label="Pages"><span>${numberText(shown)} shown</span>
${cursor !== undefined && html`<a href="${links.here({ cursor: undefined })}">First page</a>`}
${next !== undefined && html`<a rel="next" href="${links.here({ cursor: next })}">${isShort ? 'Search on' : 'Next page'}</a>`}</nav>`
}

function verbs(
  context: RequestContext,
  { text, filter }: Filter,
  { value, isComplete }: Counts,
): Html | undefined {
  const { links } = context
  const group = filter?.consumerGroup
  const matched = value?.matched ?? 0
  if (isComplete && matched === 0) return undefined
  const all = isComplete ? `all ${numberText(matched)}` : 'all'
  const which = text === '' ? all : `${all} that match`
  const verb = (action: string, label: string, look: string, isShown: boolean) =>
    isShown &&
    html`<a class="button ${look}" href="${links.bus(['bulk', action], { filter: text })}">${label}</a>`
  const mayChange = context.can('change', group)
  return html`<div class="verbs">
${verb('replay', `Replay ${which}…`, 'primary', context.can('operate', group))}
${verb('archive', 'Archive…', '', mayChange && context.canArchive)}
${verb('purge', 'Purge…', 'danger', mayChange)}
${context.can('read', group) && html`<a class="button" download href="${links.bus(['export', 'dead-letters'], { filter: text })}">Export</a>`}
</div>`
}
