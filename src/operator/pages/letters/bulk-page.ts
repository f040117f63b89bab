import type { BulkOptions, DeadLetterFilter, SummaryProgress } from '../../../bus/index.ts'
import { deadLetterLine, integer, rate, UsageError } from '../../../filter-line/index.ts'
import type { Reading } from '../../background-reads.ts'
import { BusWatch } from '../../bus-watch.ts'
import { numberText, whyField } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, type HtmlValue, html } from '../../html.ts'
import { HttpError } from '../../http-error.ts'
import type { Done, Page } from '../../route.ts'
import { type BulkAction, type BulkVerb, bulkVerb, startBulk } from './bulk-verbs.ts'
import { lettersOf, names, trail } from './format.ts'
import { LetterReads } from './letter-reads.ts'
import { queueOf } from './letter-view.ts'

/** How long the page waits for the count, in milliseconds. After that it shows how far the count is. */
const COUNT_MS = 800

/** Counts what a change would hit, and asks before it. */
export async function bulkPage(context: RequestContext, action: BulkAction): Promise<Page> {
  const verb = verbOf(context, action)
  const queue = queueOf(context)
  const given = context.filter(deadLetterLine)
  if (given.problem !== undefined) throw new HttpError(400, given.problem)
  const { filter = {}, text: line } = given
  await requireForAll(context, verb, filter)
  const counts = await context
    .state(LetterReads.key)
    .counts(queue, { bus: context.busName, filter, line }, { waitMs: COUNT_MS })
  return formPage(context, verb, { line, counts, problem: undefined })
}

/** Starts the job. */
export async function startBulkJob(context: RequestContext, action: BulkAction): Promise<Done> {
  const verb = verbOf(context, action)
  const { form, busName: bus } = context
  const queue = queueOf(context)
  const line = form.get('filter')?.trim() ?? ''
  const filter = lineOf(line)
  await requireForAll(context, verb, filter)
  const limits = limitsOf(form)
  if (verb.needsReason && !limits.isDryRun) context.field('why')
  const job = startBulk(context, verb, { queue, filter, line, ...limits })
  return {
    goTo: context.links.bus(['jobs', job.id]),
    text: `Started to ${verb.action} ${line === '' ? 'all dead letters' : `the dead letters that match ${line}`} of ${bus}${limits.isDryRun ? ', as a dry run' : ''}.`,
    count: 0,
  }
}

function verbOf(context: RequestContext, action: BulkAction): BulkVerb {
  const verb = bulkVerb(action)
  if (verb === undefined || (verb.action === 'archive' && !context.canArchive)) {
    throw new HttpError(404, 'There is no such page.')
  }
  return verb
}

/** A change of all groups needs the role for each of them. @throws HttpError 403 */
async function requireForAll(
  context: RequestContext,
  { role }: BulkVerb,
  { consumerGroup }: DeadLetterFilter,
): Promise<void> {
  context.require(role, consumerGroup)
  if (consumerGroup !== undefined || typeof context.viewer.roles !== 'function') return
  const { groups = [] } = await context.state(BusWatch.key).view(context.busName)
  const other = groups.find(({ name }) => !context.can(role, name))
  if (other === undefined) return
  throw new HttpError(
    403,
    'You may not do this to all groups. Name yours in the filter, such as group:billing.',
  )
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
  if (expected === undefined && !isDryRun) {
    throw new HttpError(400, 'The number of dead letters is not confirmed. Send the form of the page.')
  }
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

function formPage(context: RequestContext, verb: BulkVerb, { line, counts }: Asked): Page {
  const { value, isComplete } = counts
  const { matched = 0, scanned = 0, total = 0, groups = [] } = value ?? {}
  const isCounted = isComplete && value?.isComplete !== false
  const { links } = context
  const back = links.bus(['dead-letters'], { filter: line })
  return {
    title: `${verb.label} dead letters`,
    section: 'dead-letters',
    ...(!isComplete && { refreshSeconds: 1 }),
    main: html`${trail([{ href: back, text: 'Dead letters' }])}
<h1>${verb.label} ${isCounted ? lettersOf(matched) : 'dead letters'}</h1>
<section class="card" aria-label="What it changes"><div class="body">
<p>Filter: ${line === '' ? html`none, so <strong>all dead letters</strong>` : html`<code>${foreign(line)}</code>`}</p>
${isCounted ? html`<p class="lead">${sentence(verb, matched, groups)}</p>` : html`<p class="lead" role="status">Counting: ${numberText(matched)} match of ${numberText(scanned)} that were read, of ${numberText(Math.max(total, scanned))}. <a href="${links.here()}">Look again</a></p><progress max="${Math.max(total, 1)}" value="${scanned}" aria-label="Counting"></progress>`}
${isCounted && matched > 0 && bulkForm(context, verb, line, matched)}
</div></section>`,
  }
}

function sentence({ action }: BulkVerb, matched: number, groups: SummaryProgress['groups']): Html {
  if (matched === 0) return html`No dead letter matches. There is nothing to ${action}.`
  const consumerGroups = [...new Set(groups.flatMap((group) => group.consumerGroups))]
  const handlers = [...new Set(groups.flatMap((group) => group.handlerNames))]
  const those = lettersOf(matched)
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

function bulkForm({ links }: RequestContext, verb: BulkVerb, line: string, matched: number): Html {
  const { action, label, needsReason } = verb
  const back = links.bus(['dead-letters'], { filter: line })
  const field = (name: string, text: HtmlValue, attributes: HtmlValue) =>
    html`<div class="field"><label for="${name}">${text}</label><input id="${name}" name="${name}" autocomplete="off"${attributes}></div>`
  return html`<form method="post" action="${links.bus(['bulk', action])}" class="stack">
<input type="hidden" name="filter" value="${line}"><input type="hidden" name="expected" value="${matched}">
<div class="fields">
${field('rate', html`Rate <span class="hint">changes per second</span>`, html` inputmode="decimal" placeholder="no limit"${action === 'replay' && html` value="50"`}`)}
${field('limit', 'At most', html` inputmode="numeric" placeholder="${matched}"`)}
${whyField(action)}
</div>
<p><input type="checkbox" id="dryRun" name="dryRun" value="on"> <label for="dryRun">Dry run: only count</label></p>
${needsReason && html`<p class="quiet small">Without a reason, only a dry run is possible.</p>`}
<p class="verbs"><button class="${action === 'replay' ? 'primary' : 'danger'}">${label} ${numberText(matched)}</button> <a class="button" href="${back}">Cancel</a></p>
</form>`
}
