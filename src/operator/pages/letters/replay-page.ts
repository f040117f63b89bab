import type { DeadLetter, EventExplanation } from '../../../bus/index.ts'
import { when } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { quoted } from '../../quoted.ts'
import type { Page } from '../../route.ts'
import { cut, trail } from './format.ts'
import { checkRole, LETTER_MS, queueOf, viewOf } from './letter-view.ts'

/** Events and dead letters that are read to find the outcome of a replay. */
const MAX_SCANNED = 1000

/** The outcome of a replay. */
type Outcome =
  | { readonly state: 'handled' | 'gone' }
  | { readonly state: 'waiting' | 'retrying'; readonly consumer: string | undefined }
  | { readonly state: 'failed'; readonly letter: DeadLetter }

/** Follows a replay until it was handled, or failed again. */
export async function replayPage(context: RequestContext): Promise<Page> {
  const { query, links } = context
  const eventId = context.param('event')
  const group = query.get('group') ?? undefined
  checkRole(context, 'see', group)
  const former = query.get('letter') ?? ''
  const queue = queueOf(context)
  const [explanation, left] = await context.ask(
    Promise.all([
      context.bus.admin.explain(eventId, { maxScanned: MAX_SCANNED, signal: context.signal }),
      queue.get(former),
    ]),
    LETTER_MS,
  )
  const outcome = outcomeOf(explanation, group, Number(query.get('replays') ?? -1))
  const isOver = outcome.state === 'handled' || outcome.state === 'failed'
  const handler = query.get('handler') ?? ''
  return {
    title: 'Replay',
    section: 'dead-letters',
    ...(!isOver && { refreshSeconds: 1 }),
    main: html`${trail([{ href: links.bus(['dead-letters']), text: 'Dead letters' }])}
<h1>Replay</h1>
<section id="replay" class="card" aria-label="State of the replay"><div class="body">
<ol class="steps" role="status">
<li class="${left === undefined ? 'good' : 'warn'}">${left === undefined ? 'The dead letter is gone.' : 'The dead letter is still there.'}</li>
<li class="good">It was given to ${group === undefined ? 'the group of this bus' : html`group <b>${foreign(cut(group, 200))}</b>`}${handler !== '' && html`, handler <b>${foreign(cut(handler, 200))}</b>`}, and to nobody else.</li>
${lastStep(context, outcome)}
</ol>
${!isOver && html`<p class="quiet">This page looks again by itself. <a href="${links.here()}">Look again now</a></p>`}
</div></section>
<dl class="facts"><dt>Event</dt><dd><code>${foreign(cut(eventId, 200))}</code></dd></dl>
<p><a href="${links.bus(['dead-letters'], { filter: group === undefined ? undefined : `group:${quoted(group)}` })}">Back to the dead letters</a></p>`,
  }
}

function outcomeOf(explanation: EventExplanation, group: string | undefined, replays: number): Outcome {
  const letter = explanation.deadLetters.find(
    (one) => one.consumerGroup === group && one.replayCount > replays,
  )
  if (letter !== undefined) return { state: 'failed', letter }
  const progress = explanation.groups.find(({ group: name }) => name === group)
  if (progress === undefined) return { state: 'gone' }
  const { hasOpenReplay, state, consumer } = progress
  if (hasOpenReplay === undefined) return { state: 'gone' }
  if (hasOpenReplay) return { state: 'waiting', consumer }
  return state === 'retrying' ? { state, consumer } : { state: 'handled' }
}

function lastStep(context: RequestContext, outcome: Outcome): Html {
  switch (outcome.state) {
    case 'handled':
      return html`<li class="good" id="handled">It was handled.</li>`
    case 'gone':
      return html`<li class="none">It has not failed again. The broker does not report when a replay has been handled.</li>`
    case 'waiting':
      return html`<li class="wait">${outcome.consumer === undefined ? 'It waits for a consumer of the group.' : html`It is in flight at ${foreign(outcome.consumer)}.`}</li>`
    case 'retrying':
      return html`<li class="wait">It failed, and waits for its next attempt.</li>`
    case 'failed':
      return failedStep(context, outcome.letter)
  }
}

function failedStep(context: RequestContext, letter: DeadLetter): Html {
  const { error } = viewOf(letter, queueOf(context), context.mask)
  return html`<li class="bad">It failed again at ${when(letter.lastFailedAt)}: <span class="error-text">${foreign(cut(error, 400))}</span>
<a href="${context.links.bus(['dead-letters', letter.id])}">Open the dead letter</a></li>`
}
