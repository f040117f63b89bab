import type { DeadLetter, DeadLetterGroup, SummaryProgress } from '../../../bus/index.ts'
import { DEAD_LETTER_KEYS, deadLetterLine, writeDeadLetterLine } from '../../../filter-line/index.ts'
import type { Reading } from '../../background-reads.ts'
import type { FilterOfQuery, RequestContext } from '../../context.ts'
import { flag, foreign, type Html, html } from '../../html.ts'
import { Jobs } from '../../jobs/jobs.ts'
import type { Page } from '../../route.ts'
import { ago, clock, cut, lettersOf, names, number } from './format.ts'
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
  if (queue === undefined)
    return emptyPage(
      html`<p class="lead">A bus in memory keeps no dead letters: <code>publish</code> reports what failed.</p>`,
    )
  if (given.problem !== undefined) return pageOf(html`${filterForm(context, given)}`, undefined, 400)
  const order = context.query.get('order') === 'oldest' ? 'oldest' : 'newest'
  const cursor = context.query.get('cursor') ?? undefined
  const { filter = {} } = given
  const query = { bus, filter, line: given.text, order, cursor } as const
  const reads = context.state(LetterReads.key)
  const [counts, list] = await Promise.all([reads.counts(queue, query), reads.list(queue, query)])
  const seen = list.value?.deadLetters.filter((letter) => context.can('see', letter.consumerGroup))
  const jobs = context.state(Jobs.key).of(bus).slice(0, 5)
  const isBusy = !counts.isComplete || !list.isComplete || jobs.some(({ isRunning }) => isRunning)
  const main = html`${filterForm(context, given)}
${jobLines(context, jobs)}
${errorsOf(context, given, counts)}
<section id="letters" data-region aria-labelledby="letters-title">
<div class="section-head"><h2 id="letters-title">${order === 'newest' ? 'Newest first' : 'Oldest first'}</h2>
<a class="quiet" href="${context.links.here({ order: order === 'newest' ? 'oldest' : undefined, cursor: undefined })}">${order === 'newest' ? 'Oldest first' : 'Newest first'}</a></div>
${lettersTable(context, seen)}
${pager(context, list.value?.cursor, seen?.length ?? 0, cursor)}
</section>
${verbs(context, given, counts)}`
  return pageOf(main, isBusy ? REFRESH.busy : REFRESH.idle)
}

function pageOf(main: Html, refreshSeconds: number | undefined, status = 200): Page {
  return {
    title: 'Dead letters',
    section: 'dead-letters',
    status,
    ...(refreshSeconds !== undefined && { refreshSeconds }),
    main: html`<h1>Dead letters</h1>${main}`,
  }
}

function emptyPage(text: Html): Page {
  return pageOf(text, undefined)
}

function filterForm({ links, query }: RequestContext, { text, problem }: Filter): Html {
  const order = query.get('order')
  return html`<form class="filter" action="${links.bus(['dead-letters'])}" role="search">
<label for="filter">Filter</label>
<input id="filter" name="filter" value="${text}" placeholder="group:billing error:TypeError since:2h" autocomplete="off" spellcheck="false" aria-describedby="filter-keys${problem !== undefined && ' filter-problem'}"${problem !== undefined && html` aria-invalid="true"`}>
${order !== null && html`<input type="hidden" name="order" value="${order}">`}
<button>Apply</button>${text !== '' && html` <a class="quiet" href="${links.bus(['dead-letters'])}">Clear</a>`}
</form>
${problem !== undefined && html`<p class="outcome bad" id="filter-problem" role="alert">${problem}</p>`}
<p class="hint" id="filter-keys">Keys: ${DEAD_LETTER_KEYS}. A value with spaces stands in double quotes.</p>`
}

function errorsOf(
  context: RequestContext,
  { text, filter }: Filter,
  { value, isComplete, readAt }: Counts,
): Html {
  const { groups = [], matched = 0, scanned = 0, total = 0 } = value ?? {}
  const shown = groups.slice(0, MAX_GROUPS)
  const window =
    isComplete && value?.isComplete !== false
      ? html`${lettersOf(matched)}${text !== '' && ' match'}. Window: all ${number(scanned)} were read, ${ago(readAt)}.`
      : isComplete
        ? html`${lettersOf(matched)} match so far. Window: the oldest ${number(scanned)} of ${number(total)} were read.`
        : html`Counting: ${number(scanned)} of ${number(Math.max(total, scanned))} were read so far, ${number(matched)} match.`
  return html`<section id="errors" data-region aria-labelledby="errors-title">
<div class="section-head"><h2 id="errors-title">By error</h2><p class="window" role="status">${window}</p></div>
${!isComplete && html`<progress max="${Math.max(total, scanned, 1)}" value="${scanned}" aria-label="Counting"></progress>`}
${
  shown.length > 0 &&
  html`<table class="cards errors"><thead><tr><th class="number">Letters</th><th>Error</th><th>Handler</th><th>First</th><th>Last</th></tr></thead>
<tbody>${shown.map((group) => errorRow(context, text, filter, group))}</tbody></table>`
}
${groups.length > shown.length && html`<p class="hint">${number(groups.length - shown.length)} more errors are not shown. A filter shows them.</p>`}
</section>`
}

function errorRow(
  { links, mask }: RequestContext,
  line: string,
  filter: Filter['filter'],
  { key, count, firstAt, lastAt, handlerNames, consumerGroups }: DeadLetterGroup,
): Html {
  const signature = cut(mask.text(key), 300)
  // A filter with a signature has one group, and the key of what has no signature cannot be searched.
  const isLinked = filter?.errorSignature === undefined && !key.startsWith('(')
  const term = writeDeadLetterLine({ errorSignature: key })
  const href = links.bus(['dead-letters'], { filter: line === '' ? term : `${line} ${term}` })
  return html`<tr>
<td class="number" data-label="Letters">${number(count)}</td>
<td data-label="Error">${isLinked ? html`<a class="error-text" href="${href}">${foreign(signature)}</a>` : html`<span class="error-text">${foreign(signature)}</span>`}</td>
<td data-label="Handler">${handlerNames.length === 0 ? foreign(undefined) : names(handlerNames)}${consumerGroups.length > 0 && html` <span class="quiet">in ${names(consumerGroups)}</span>`}</td>
<td data-label="First">${clock(firstAt)}</td>
<td data-label="Last">${clock(lastAt)}</td>
</tr>`
}

function lettersTable(context: RequestContext, letters: readonly DeadLetter[] | undefined): Html {
  if (letters === undefined)
    return html`<p class="lead" role="status">The dead letters are being read. This page shows them in a moment; <a href="${context.links.here()}">look again</a>.</p>`
  if (letters.length === 0)
    return html`<p class="lead empty">No dead letters${context.query.get('filter') ? ' match' : ''}.</p>`
  return html`<table class="cards letters"><thead><tr><th>Failed</th><th>Event</th><th>Aggregate</th><th>Handler</th><th class="number">Attempts</th><th>Error</th></tr></thead>
<tbody>${letters.map((letter) => letterRow(context, letter))}</tbody></table>`
}

function letterRow(context: RequestContext, letter: DeadLetter): Html {
  const { links, mask, deadLetters: queue } = context
  const { id, eventType, aggregateId, handlerNames = [], attempts, lastFailedAt, replayCount } = letter
  const error = queue === undefined ? '' : viewOf(letter, queue, mask).error
  const { order, filter } = {
    order: context.query.get('order') ?? undefined,
    filter: context.query.get('filter') ?? undefined,
  }
  return html`<tr data-row>
<td data-label="Failed">${clock(lastFailedAt)}</td>
<td data-label="Event"><a href="${links.bus(['dead-letters', id], { filter, order })}">${foreign(cut(eventType ?? 'not an event', 80))}</a></td>
<td data-label="Aggregate">${foreign(aggregateId === undefined ? undefined : cut(aggregateId, 60))}</td>
<td data-label="Handler">${handlerNames.length === 0 ? foreign(undefined) : foreign(cut(handlerNames.join(', '), 80))}</td>
<td class="number" data-label="Attempts">${foreign(attempts)}${replayCount > 0 && html` <span class="tag" title="replayed and failed again">replayed ${replayCount}×</span>`}</td>
<td data-label="Error" class="error-cell"><span class="error-text">${foreign(cut(error, 160))}</span></td>
</tr>`
}

function pager(
  { links }: RequestContext,
  next: string | undefined,
  shown: number,
  cursor: string | undefined,
): Html {
  const isShort = next !== undefined && shown < PAGE_SIZE
  return html`<nav class="pager" aria-label="Pages"><span>${number(shown)} shown</span>
${cursor !== undefined && html`<a href="${links.here({ cursor: undefined })}">First page</a>`}
${next !== undefined && html`<a rel="next" href="${links.here({ cursor: next })}">${isShort ? 'Search on' : 'Next page'}</a>`}</nav>`
}

function verbs(context: RequestContext, { text, filter }: Filter, { value, isComplete }: Counts): Html {
  const { links } = context
  const group = filter?.consumerGroup
  const matched = value?.matched ?? 0
  if (isComplete && matched === 0) return html``
  const all = isComplete ? `all ${number(matched)}` : 'all'
  const which = text === '' ? all : `${all} that match`
  const link = (action: string, label: string, isShown: boolean, look = '') =>
    isShown &&
    html`<a class="button${look}" href="${links.bus(['bulk', action], { filter: text })}">${label}</a>`
  return html`<p class="verbs" id="verbs" data-region${flag('hidden', false)}>
${link('replay', `Replay ${which}…`, context.can('operate', group), ' primary')}
${link('archive', `Archive ${which}…`, context.can('change', group) && context.canArchive)}
${link('purge', `Purge ${which}…`, context.can('change', group), ' danger')}
${context.can('read', group) && html`<a class="button" download href="${links.bus(['export', 'dead-letters'], { filter: text })}">Export ${which}</a>`}
</p>`
}
