import type { SubscriptionState, SubscriptionStatus } from '../../../subscriptions/index.ts'
import { age, badge, counted, number, numberText, verbForm, when, whyField } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { cut } from '../letters/format.ts'
import { type Rebuild, Rebuilds } from './rebuilds.ts'

const STATES: Readonly<
  Record<SubscriptionState, readonly [text: string, level: Parameters<typeof badge>[1]]>
> = {
  live: ['live', 'good'],
  catchingUp: ['catching up', 'accent'],
  standby: ['standby', undefined],
  paused: ['paused', 'warn'],
  stopped: ['stopped', 'bad'],
  failed: ['failed', 'bad'],
}

/** One subscription: where it is, and what can be done. */
export function subscriptionCard(context: RequestContext, manager: string, status: SubscriptionStatus): Html {
  const { name, state, position, head, lagPositions, lagMs, lastError } = status
  const rebuild = context.state(Rebuilds.key).get(manager, name)
  const isBehind = head !== undefined && head > 0 && (lagPositions ?? 0) > 0
  const errorText = lastError === undefined ? undefined : context.mask.text(lastError.message)
  return html`<section class="card" id="subscription-${manager}-${name}"><header><h2>${foreign(cut(name, 80))}</h2>${badge(...STATES[state])}</header><div class="body">
${isBehind && html`<progress max="${head}" value="${Math.min(position, head)}" aria-label="Progress of ${name}"></progress>`}
${rebuild !== undefined && html`<p class="small" role="status">${rebuildText(context, rebuild)}</p>`}
<dl class="facts">
<dt>Position</dt><dd>${numberText(position)} of ${number(head)}${isBehind && html` <span class="quiet">(${Math.floor((100 * position) / head)} %)</span>`}</dd>
<dt>Lag</dt><dd>${number(lagPositions)}${(lagMs ?? 0) > 0 && html`, oldest event ${age(new Date(Date.now() - (lagMs ?? 0)))} old`}</dd>
<dt>Rate</dt><dd>${numberText(status.eventsPerSecond)}/s${remaining(status)}</dd>
<dt>Handled</dt><dd>${numberText(status.eventsHandled)}, ${counted(status.handlerErrors, 'failed attempt')}</dd>
${status.retrying > 0 && html`<dt>Retrying</dt><dd class="warm">${counted(status.retrying, 'event')}</dd>`}
${status.eventsDeadLettered > 0 && html`<dt>Dead letters</dt><dd class="hot">${numberText(status.eventsDeadLettered)}</dd>`}
${errorText !== undefined && html`<dt>Last error</dt><dd class="error-text">${foreign(cut(errorText, 300))}</dd>`}
</dl>
${verbs(context, manager, status)}</div></section>`
}

function remaining({ lagPositions = 0, eventsPerSecond }: SubscriptionStatus): string {
  if (lagPositions === 0 || eventsPerSecond < 1) return ''
  const seconds = Math.ceil(lagPositions / eventsPerSecond)
  return seconds < 90 ? `, about ${seconds} s left` : `, about ${Math.ceil(seconds / 60)} min left`
}

function rebuildText({ mask }: RequestContext, { by, startedAt, report, error, isRunning }: Rebuild): Html {
  const who = html`by ${foreign(by)}, ${when(startedAt)}`
  if (isRunning) return html`Rebuild ${who}: its read model is incomplete until it has caught up.`
  if (error !== undefined) return html`The rebuild ${who}, has failed: ${foreign(mask.text(error.message))}`
  return html`Rebuilt ${who}: ${counted(report?.eventsHandled ?? 0, 'event')} in ${((report?.durationMs ?? 0) / 1000).toFixed(1)} s.`
}

function verbs(
  context: RequestContext,
  manager: string,
  { name, state }: SubscriptionStatus,
): Html | undefined {
  const action = (verb: string) => context.links.bus(['subscriptions', manager, name, verb])
  const id = (verb: string) => `${verb}-${manager}-${name}`
  const fields = html`<p class="small">The projection is reset and gets all events again. Until it has caught up, its read model is incomplete.</p>${whyField(id('rebuild'), true)}`
  const forms = [
    ...(context.can('operate') && state === 'paused'
      ? [
          html`<form method="post" action="${action('resume')}"><button class="primary">Resume ${foreign(cut(name, 40))}</button></form>`,
        ]
      : []),
    ...(context.can('operate') && ['live', 'catchingUp'].includes(state)
      ? [
          verbForm({
            ...{ id: id('pause'), label: 'Pause', action: action('pause'), fields: whyField(id('pause')) },
            submit: 'Pause the subscription',
          }),
        ]
      : []),
    ...(context.can('change') && state !== 'standby'
      ? [
          verbForm({
            ...{ id: id('rebuild'), label: 'Rebuild…', action: action('rebuild'), fields },
            ...{ submit: 'Rebuild the projection', isDangerous: true },
          }),
        ]
      : []),
  ]
  return forms.length === 0 ? undefined : html`<div class="verbs">${forms}</div>`
}
