import type { DeadLetter } from '../../../bus/index.ts'
import { writeDeadLetterLine } from '../../../filter-line/index.ts'
import { age, card, numberText, verbForm, when, whyField } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { maskedBody } from '../../masked-body.ts'
import type { Page } from '../../route.ts'
import { cut, names, trail } from './format.ts'
import { jsonTree } from './json-tree.ts'
import { checkRole, LETTER_MS, type LetterView, queueOf, textOfError, viewOf } from './letter-view.ts'

/** Longest body that is not an event, of which a page shows the beginning, in characters. */
const MAX_BODY = 4000
const MAX_ERROR = 4000
const MAX_STACK = 8000
const MAX_HEADERS = 100

const REASONS: Readonly<Record<NonNullable<DeadLetter['reason']>, string>> = {
  max_retries_exceeded: 'All retries failed.',
  rejected: 'The policy of the handler does not retry this error.',
  deserialization_error: 'The message could not be decoded, or its schema refused it.',
  delivery_limit_exceeded: 'It was delivered too often without being settled, as if it ended its process.',
  handler_not_found: 'The handler that it was replayed to does not exist.',
}

/** One dead letter: why, and what can be done. */
export async function letterPage(context: RequestContext): Promise<Page> {
  const queue = queueOf(context)
  const id = context.param('id')
  const letter = await context.ask(queue.get(id), LETTER_MS)
  if (letter === undefined) return gonePage(context, id)
  checkRole(context, 'see', letter.consumerGroup)
  const view = viewOf(letter, queue, context.mask)
  const mayRead = context.can('read', letter.consumerGroup)
  return {
    title: `Dead letter ${cut(id, 60)}`,
    section: 'dead-letters',
    main: html`${trail([{ href: backTo(context), text: 'Dead letters' }])}
<div class="head"><h1>${foreign(cut(letter.eventType ?? 'Not an event', 120))} <span class="quiet">${foreign(cut(letter.aggregateId ?? '', 120))}</span></h1></div>
${verbs(context, letter)}
<div class="columns">
${card('Why', html`<div class="body">${whyOf(context, view)}</div>`)}
<div class="stack-of-cards">
${card('Payload', html`<div class="body">${mayRead ? payloadOf(context, view) : html`<p class="quiet">You may not see payloads: this needs the role read.</p>`}</div>`)}
${mayRead && card('Headers', html`<div class="body">${headersOf(view)}</div>`)}
</div></div>`,
  }
}

/** A dead letter that is gone: replayed, purged, or never there. */
export function gonePage({ links }: RequestContext, id: string): Page {
  return {
    title: 'This dead letter is gone',
    section: 'dead-letters',
    status: 404,
    main: html`${trail([{ href: links.bus(['dead-letters']), text: 'Dead letters' }])}
<h1>This dead letter is gone</h1>
<p class="lead">There is no dead letter ${foreign(cut(id, 200))}. It was replayed or purged, or its id is wrong. <a href="${links.bus(['activity'])}">Activity</a> shows the changes that were made in this page.</p>`,
  }
}

/** Leads to what all groups have done with the event. */
function eventLink(links: RequestContext['links'], { eventId, aggregateId }: DeadLetter): Html {
  if (eventId === undefined) return foreign(undefined)
  const href = links.bus(['events', eventId], { aggregate: aggregateId })
  return html`<code><a href="${href}">${foreign(cut(eventId, 200))}</a></code>`
}

/** The list that the viewer came from. */
export function backTo({ links, query }: RequestContext): string {
  const filter = query.get('filter') ?? undefined
  const order = query.get('order') ?? undefined
  return links.bus(['dead-letters'], { filter, order })
}

function verbs(context: RequestContext, letter: DeadLetter): Html {
  const { links } = context
  const { id, consumerGroup: group } = letter
  const mayOperate = context.can('operate', group)
  const mayChange = context.can('change', group)
  if (!mayOperate && !mayChange) return html`<p class="quiet">You may look, but not replay or purge.</p>`
  return html`<div class="verbs">${mayOperate && replayForm(context, id)}
${mayChange && context.can('read', group) && html`<a class="button" href="${links.bus(['dead-letters', id, 'edit'])}">Edit and replay…</a>`}
${mayChange && purgeForm(context, id)}</div>
${mayOperate && html`<p class="quiet small">A replay goes to ${destination(letter)}, and to nobody else.</p>`}`
}

function replayForm({ links }: RequestContext, id: string): Html {
  return html`<form class="inline" method="post" action="${links.bus(['dead-letters', id, 'replay'])}">
<button class="primary">Replay</button><label class="hidden" for="replay-why">Reason for the record</label>
<input id="replay-why" name="why" maxlength="500" placeholder="reason, optional" autocomplete="off"></form>`
}

function purgeForm({ links }: RequestContext, id: string): Html {
  return verbForm({
    id: 'purge',
    label: 'Purge…',
    action: links.bus(['dead-letters', id, 'purge']),
    fields: html`<p>The dead letter is removed for good.</p>${whyField('purge', true)}`,
    submit: 'Purge it',
    isDangerous: true,
  })
}

function destination({ consumerGroup, handlerNames = [] }: DeadLetter): Html {
  const group = consumerGroup === undefined ? 'the group of this bus' : html`group ${names([consumerGroup])}`
  return handlerNames.length === 0 ? html`${group}` : html`${group}, handler ${names(handlerNames)}`
}

function whyOf({ links }: RequestContext, view: LetterView): Html {
  const { letter, error, stack, correlationId, causationId } = view
  const isShown = error === textOfError(letter)
  const { reason, handlerNames = [], settledHandlers = [], attempts, firstFailedAt, lastFailedAt } = letter
  const filterLink = (text: string, filter: Parameters<typeof writeDeadLetterLine>[0]) =>
    html`<a href="${links.bus(['dead-letters'], { filter: writeDeadLetterLine(filter) })}">${foreign(cut(text, 200))}</a>`
  return html`<p>${reason === undefined ? 'The reason is unknown.' : REASONS[reason]}</p>
<pre class="error-text" role="region" tabindex="0" aria-label="Error">${foreign(cut(error, MAX_ERROR))}</pre>
${stack !== undefined && html`<details><summary>Stack</summary><pre class="stack" role="region" tabindex="0" aria-label="Stack">${foreign(cut(stack, MAX_STACK))}</pre></details>`}
<dl class="facts">
<dt>Handler</dt><dd>${handlerNames.length === 0 ? foreign(undefined) : foreign(cut(handlerNames.join(', '), 400))}${settledHandlers.length > 0 && html` <span class="quiet">(${foreign(cut(settledHandlers.join(', '), 400))} succeeded)</span>`}</dd>
<dt>Group</dt><dd>${letter.consumerGroup === undefined ? foreign(undefined) : filterLink(letter.consumerGroup, { consumerGroup: letter.consumerGroup })}</dd>
<dt>Attempts</dt><dd>${foreign(attempts)}, from ${when(firstFailedAt)} to ${when(lastFailedAt)} <span class="quiet">(${age(lastFailedAt)} ago)</span></dd>
<dt>Replayed</dt><dd>${letter.replayCount === 0 ? 'never' : html`${numberText(letter.replayCount)}×, last ${age(letter.lastReplayedAt)} ago, and failed again`}</dd>
<dt>From</dt><dd>${shortened(letter.source)}</dd>
<dt>Aggregate</dt><dd>${letter.aggregateId === undefined ? foreign(undefined) : filterLink(letter.aggregateId, { aggregateId: letter.aggregateId })}</dd>
<dt>Event</dt><dd>${eventLink(links, letter)}</dd>
<dt>Correlation</dt><dd><code>${shortened(correlationId)}</code></dd>
${causationId !== undefined && html`<dt>Caused by</dt><dd><code>${shortened(causationId)}</code></dd>`}
<dt>Dead letter</dt><dd><code>${shortened(letter.id)}</code></dd>
${letter.errorSignature !== undefined && isShown && html`<dt>Same error</dt><dd>${filterLink('show all of them', { errorSignature: letter.errorSignature })}</dd>`}
</dl>`
}

function shortened(text: string | undefined): Html {
  return foreign(text === undefined ? undefined : cut(text, 400))
}

function payloadOf({ links, mask }: RequestContext, { letter, payload }: LetterView): Html {
  const { id, body } = letter
  const download = html`<p><a download href="${links.bus(['dead-letters', id, 'body'])}">Download the body</a> <span class="quiet">${numberText(body.byteLength)} bytes</span></p>`
  if (payload !== undefined) return html`${jsonTree(payload)}${download}`
  const text = Buffer.from(maskedBody(body, mask)).toString('utf8')
  return html`<p class="quiet">The body is no event that can be decoded. It starts with:</p>
<pre role="region" tabindex="0" aria-label="Body">${foreign(cut(mask.text(text), MAX_BODY))}</pre>${download}`
}

function headersOf({ headers }: LetterView): Html {
  const entries = Object.entries(headers)
  const shown = entries.slice(0, MAX_HEADERS)
  const rest = entries.length - shown.length
  return html`<dl class="facts">${shown.map(
    ([name, value]) =>
      html`<dt>${foreign(cut(name, 200))}</dt><dd><code>${foreign(cut(value, 1000))}</code></dd>`,
  )}</dl>${rest > 0 && html`<p class="quiet">and ${numberText(rest)} more</p>`}`
}
