import type { BulkOptions, DeadLetterFilter, SummaryProgress } from '../../../bus/index.ts'
import { deadLetterLine, integer, rate, UsageError } from '../../../filter-line/index.ts'
import type { Reading } from '../../background-reads.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { HttpError } from '../../http-error.ts'
import type { Done, Page } from '../../route.ts'
import { type BulkAction, type BulkVerb, bulkVerb, startBulk } from './bulk-verbs.ts'
import { lettersOf, names, number } from './format.ts'
import { LetterReads } from './letter-reads.ts'
import { queueOf } from './letter-view.ts'

/** How long the page waits for the count, in milliseconds. After that it shows how far the count is. */
const COUNT_MS = 800

/** Counts what a change would hit, and asks before it. */
export async function bulkPage(context: RequestContext): Promise<Page> {
  const verb = verbOf(context)
  const queue = queueOf(context)
  const given = context.filter(deadLetterLine)
  if (given.problem !== undefined) throw new HttpError(400, given.problem)
  const { filter = {}, text: line } = given
  context.require(verb.role, filter.consumerGroup)
  const counts = await context
    .state(LetterReads.key)
    .counts(queue, { bus: context.busName, filter, line }, COUNT_MS)
  return formPage(context, verb, { line, counts, problem: undefined })
}

/** Starts the job. */
export async function startBulkJob(context: RequestContext): Promise<Done | Page> {
  const verb = verbOf(context)
  const { form, busName: bus } = context
  const queue = queueOf(context)
  const line = form.get('filter')?.trim() ?? ''
  const filter = lineOf(line)
  context.require(verb.role, filter.consumerGroup)
  const limits = limitsOf(form)
  if (verb.needsReason && !limits.isDryRun) context.field('why')
  const job = startBulk(context, verb, { queue, filter, line, ...limits })
  return {
    goTo: context.links.bus(['jobs', job.id]),
    text: `Started to ${verb.action} ${line === '' ? 'all dead letters' : `the dead letters that match ${line}`} of ${bus}${limits.isDryRun ? ', as a dry run' : ''}.`,
    count: 0,
  }
}

export function verbOf(context: RequestContext): BulkVerb {
  const verb = bulkVerb(context.param('action'))
  if (verb === undefined || (verb.action === 'archive' && !context.canArchive)) {
    throw new HttpError(404, 'There is no such page.')
  }
  return verb
}

/** @throws HttpError 400 */
function lineOf(line: string): DeadLetterFilter {
  try {
    return line === '' ? {} : deadLetterLine(line)
  } catch (thrown) {
    if (thrown instanceof UsageError) throw new HttpError(400, `The filter ${thrown.message}.`)
    throw thrown
  }
}

/** Limits of a change, as they were entered. */
interface Limits extends Pick<BulkOptions, 'limit' | 'ratePerSecond'> {
  readonly expected: number | undefined
  readonly isDryRun: boolean
}

/** @throws HttpError 400 */
function limitsOf(form: URLSearchParams): Limits {
  const read = <T>(name: string, reader: (text: string) => T): T | undefined => {
    const text = form.get(name)?.trim() ?? ''
    try {
      return text === '' ? undefined : reader(text)
    } catch (thrown) {
      if (thrown instanceof UsageError) throw new HttpError(400, `The field ${name} ${thrown.message}.`)
      throw thrown
    }
  }
  const isDryRun = form.get('dryRun') === 'on'
  const expected = read('expected', integer(0))
  const wanted = read('limit', integer())
  const perSecond = read('rate', rate)
  // Never more than the viewer has seen and confirmed.
  const limit = isDryRun
    ? wanted
    : Math.min(wanted ?? Number.POSITIVE_INFINITY, expected ?? Number.POSITIVE_INFINITY)
  if (limit === 0) throw new HttpError(409, 'No dead letter matched when you confirmed it.')
  return {
    isDryRun,
    expected: limit !== undefined && Number.isFinite(limit) ? limit : expected,
    ...(limit !== undefined && Number.isFinite(limit) && { limit }),
    ...(perSecond !== undefined && { ratePerSecond: Math.max(1, Math.round(perSecond)) }),
  }
}

interface Asked {
  readonly line: string
  readonly counts: Reading<SummaryProgress>
  readonly problem: string | undefined
}

function formPage({ links }: RequestContext, verb: BulkVerb, { line, counts }: Asked): Page {
  const { value, isComplete } = counts
  const { matched = 0, scanned = 0, total = 0, groups = [] } = value ?? {}
  const isCounted = isComplete && value?.isComplete !== false
  const back = links.bus(['dead-letters'], { filter: line })
  return {
    title: `${verb.label} dead letters`,
    section: 'dead-letters',
    ...(!isComplete && { refreshSeconds: 1 }),
    main: html`<p class="crumbs"><a href="${back}">Dead letters</a></p>
<h1>${verb.label} ${isCounted ? lettersOf(matched) : 'dead letters'}</h1>
<section id="count" class="card" data-region>
<p>Filter: ${line === '' ? html`none, so <b>all dead letters</b>` : html`<code>${foreign(line)}</code>`}</p>
${isCounted ? html`<p class="lead">${sentence(verb, matched, groups)}</p>` : html`<p class="lead" role="status">Counting: ${number(matched)} match of ${number(scanned)} that were read, of ${number(Math.max(total, scanned))}. <a href="${links.here()}">Look again</a></p><progress max="${Math.max(total, 1)}" value="${scanned}" aria-label="Counting"></progress>`}
${isCounted && matched > 0 && bulkForm(links.bus(['bulk', verb.action]), verb, line, matched)}
</section>
<p><a href="${back}">Cancel</a></p>`,
  }
}

function sentence({ action }: BulkVerb, matched: number, groups: SummaryProgress['groups']): Html {
  if (matched === 0) return html`No dead letter matches. There is nothing to ${action}.`
  const consumerGroups = [...new Set(groups.flatMap((group) => group.consumerGroups))]
  const handlers = [...new Set(groups.flatMap((group) => group.handlerNames))]
  const those = matched === 1 ? '1 dead letter' : `${number(matched)} dead letters`
  const of = html`${consumerGroups.length > 0 && html` ${consumerGroups.length === 1 ? 'group' : 'groups'} ${names(consumerGroups)}`}${handlers.length > 0 && html`, ${handlers.length === 1 ? 'handler' : 'handlers'} ${names(handlers)}`}`
  switch (action) {
    case 'replay':
      return html`${those} ${matched === 1 ? 'goes' : 'go'} to${consumerGroups.length === 0 ? ' the group of this bus' : of}, and to nobody else.`
    case 'purge':
      return html`${those} of${of} will be removed for good. Archive or export them first if they may be needed.`
    case 'archive':
      return html`${those} of${of} will be removed, after copies are stored.`
  }
}

function bulkForm(href: string, verb: BulkVerb, line: string, matched: number): Html {
  const { action, label, needsReason } = verb
  return html`<form method="post" action="${href}" class="bulk">
<input type="hidden" name="filter" value="${line}"><input type="hidden" name="expected" value="${matched}">
<p class="fields">
<span><label for="rate">Rate per second</label> <input id="rate" name="rate" inputmode="decimal" size="6" placeholder="no limit"${action === 'replay' && html` value="50"`}></span>
<span><label for="limit">At most</label> <input id="limit" name="limit" inputmode="numeric" size="8" placeholder="${matched}"></span>
<span><label for="why">Reason</label> <input id="why" name="why" maxlength="200" placeholder="${needsReason ? 'ticket' : 'ticket, optional'}"></span>
<span><input type="checkbox" id="dryRun" name="dryRun" value="on"> <label for="dryRun">Dry run: only count</label></span>
</p>
<p class="verbs"><button class="${action === 'replay' ? 'primary' : 'danger'}">${label} ${number(matched)}</button></p>
</form>`
}

export type { BulkAction }
