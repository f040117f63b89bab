import type { DeadLetter } from '../../../bus/index.ts'
import { writeDeadLetterLine } from '../../../filter-line/index.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import type { Page } from '../../route.ts'
import { ago, clock, cut, number } from './format.ts'
import { jsonTree } from './json-tree.ts'
import { type LetterView, maskedBody, queueOf, viewOf } from './letter-view.ts'

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
  const letter = await context.ask(queue.get(id))
  if (letter === undefined) return gonePage(context, id)
  context.require('see', letter.consumerGroup)
  const view = viewOf(letter, queue, context.mask)
  const mayRead = context.can('read', letter.consumerGroup)
  return {
    title: `Dead letter ${cut(id, 60)}`,
    section: 'dead-letters',
    main: html`<p class="crumbs"><a href="${backTo(context)}">Dead letters</a></p>
<h1>${foreign(cut(letter.eventType ?? 'Not an event', 120))} <span class="quiet">${foreign(cut(letter.aggregateId ?? '', 120))}</span></h1>
${verbs(context, letter)}
<div class="columns">
<section class="card" aria-labelledby="why"><h2 id="why">Why</h2>${whyOf(context, view)}</section>
<section class="card" aria-labelledby="payload"><h2 id="payload">Payload</h2>${mayRead ? payloadOf(context, view) : html`<p class="quiet">You may not see payloads: this needs the role read.</p>`}</section>
</div>
${mayRead && html`<section class="card" aria-labelledby="headers"><h2 id="headers">Headers</h2>${headersOf(view)}</section>`}`,
  }
}

/** A dead letter that is gone: replayed, purged, or never there. */
export function gonePage({ links }: RequestContext, id: string): Page {
  return {
    title: 'This dead letter is gone',
    section: 'dead-letters',
    status: 404,
    main: html`<p class="crumbs"><a href="${links.bus(['dead-letters'])}">Dead letters</a></p>
<h1>This dead letter is gone</h1>
<p class="lead">There is no dead letter ${foreign(cut(id, 200))}. It was replayed or purged, or its id is wrong. <a href="${links.bus(['activity'])}">Activity</a> shows the changes that were made in this page.</p>`,
  }
}

/** The list that the viewer came from. */
export function backTo({ links, query }: RequestContext): string {
  const filter = query.get('filter') ?? undefined
  const order = query.get('order') ?? undefined
  return links.bus(['dead-letters'], { filter, order })
}

function verbs(context: RequestContext, letter: DeadLetter): Html {
  const { links } = context
  const { id, consumerGroup: group, handlerNames = [] } = letter
  const mayOperate = context.can('operate', group)
  const mayChange = context.can('change', group)
  if (!mayOperate && !mayChange) return html`<p class="quiet">You may look, but not replay or purge.</p>`
  const to = html`${group === undefined ? 'the group of this bus' : html`group <b>${foreign(group)}</b>`}${
    handlerNames.length > 0 && html`, handler <b>${foreign(cut(handlerNames.join(', '), 200))}</b>`
  }, nobody else`
  return html`<div class="verbs">
${
  mayOperate &&
  html`<form method="post" action="${links.bus(['dead-letters', id, 'replay'])}">
<label for="why-replay">Reason</label> <input id="why-replay" name="why" maxlength="200" placeholder="ticket, optional">
<button class="primary">Replay</button> <span class="quiet">goes to ${to}</span></form>`
}
${mayChange && context.can('read', group) && html`<a class="button" href="${links.bus(['dead-letters', id, 'edit'])}">Edit and replay…</a>`}
${
  mayChange &&
  html`<details class="confirm"><summary class="button danger">Purge…</summary>
<form method="post" action="${links.bus(['dead-letters', id, 'purge'])}"><p>Purging removes this dead letter for good.</p>
<label for="why-purge">Reason</label> <input id="why-purge" name="why" maxlength="200" required placeholder="ticket">
<button class="danger">Purge it</button></form></details>`
}
</div>`
}

function whyOf({ links }: RequestContext, view: LetterView): Html {
  const { letter, error, stack, correlationId, causationId } = view
  const { reason, handlerNames = [], settledHandlers = [], attempts, firstFailedAt, lastFailedAt } = letter
  const filterLink = (text: string, filter: Parameters<typeof writeDeadLetterLine>[0]) =>
    html`<a href="${links.bus(['dead-letters'], { filter: writeDeadLetterLine(filter) })}">${foreign(cut(text, 200))}</a>`
  return html`<p>${reason === undefined ? 'The reason is unknown.' : REASONS[reason]}</p>
<pre class="error-text" tabindex="0" aria-label="Error">${foreign(cut(error, MAX_ERROR))}</pre>
${stack !== undefined && html`<details><summary>Stack</summary><pre tabindex="0" aria-label="Stack">${foreign(cut(stack, MAX_STACK))}</pre></details>`}
<dl>
<dt>Handler</dt><dd>${handlerNames.length === 0 ? foreign(undefined) : foreign(cut(handlerNames.join(', '), 400))}${settledHandlers.length > 0 && html` <span class="quiet">(${foreign(cut(settledHandlers.join(', '), 400))} succeeded)</span>`}</dd>
<dt>Group</dt><dd>${letter.consumerGroup === undefined ? foreign(undefined) : filterLink(letter.consumerGroup, { consumerGroup: letter.consumerGroup })}</dd>
<dt>Attempts</dt><dd>${foreign(attempts)}, from ${clock(firstFailedAt)} to ${clock(lastFailedAt)} <span class="quiet">(${ago(lastFailedAt)})</span></dd>
<dt>Replayed</dt><dd>${letter.replayCount === 0 ? 'never' : html`${number(letter.replayCount)}×, last ${ago(letter.lastReplayedAt)}, and failed again`}</dd>
<dt>From</dt><dd>${foreign(letter.source)}</dd>
<dt>Aggregate</dt><dd>${letter.aggregateId === undefined ? foreign(undefined) : filterLink(letter.aggregateId, { aggregateId: letter.aggregateId })}</dd>
<dt>Event</dt><dd><code>${foreign(letter.eventId)}</code></dd>
<dt>Correlation</dt><dd><code>${foreign(correlationId)}</code></dd>
${causationId !== undefined && html`<dt>Caused by</dt><dd><code>${foreign(causationId)}</code></dd>`}
<dt>Dead letter</dt><dd><code>${foreign(letter.id)}</code></dd>
${letter.errorSignature !== undefined && html`<dt>Same error</dt><dd>${filterLink('show all of them', { errorSignature: letter.errorSignature })}</dd>`}
</dl>`
}

function payloadOf({ links, mask }: RequestContext, { letter, payload }: LetterView): Html {
  const { id, body } = letter
  const download = html`<p><a download href="${links.bus(['dead-letters', id, 'body'])}">Download the body</a> <span class="quiet">${number(body.byteLength)} bytes</span></p>`
  if (payload !== undefined) return html`${jsonTree(payload)}${download}`
  const text = Buffer.from(maskedBody(body, mask)).toString('utf8')
  return html`<p class="quiet">The body is no event that can be decoded. It starts with:</p>
<pre tabindex="0" aria-label="Body">${foreign(cut(mask.text(text), MAX_BODY))}</pre>${download}`
}

function headersOf({ headers }: LetterView): Html {
  const entries = Object.entries(headers)
  const shown = entries.slice(0, MAX_HEADERS)
  const rest = entries.length - shown.length
  return html`<dl class="headers">${shown.map(
    ([name, value]) =>
      html`<dt>${foreign(cut(name, 200))}</dt><dd><code>${foreign(cut(value, 1000))}</code></dd>`,
  )}</dl>${rest > 0 && html`<p class="quiet">and ${number(rest)} more</p>`}`
}
