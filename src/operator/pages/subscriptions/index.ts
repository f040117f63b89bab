import { toError } from '../../../errors.ts'
import type { NamedCheckpoint, SubscriptionManager } from '../../../subscriptions/index.ts'
import { age, card, empty, numberText, table } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import type { OperatorStore } from '../../options.ts'
import type { Page, Route } from '../../route.ts'
import { answered } from './answered.ts'
import { pause, rebuild, resume } from './changes.ts'
import { subscriptionCard } from './subscription-card.ts'

const ONE = '/:bus/subscriptions/:manager/:subscription'

/** The subscriptions of the managers of this program, and the checkpoints of its stores. */
export const subscriptions: readonly Route[] = [
  { method: 'GET', path: '/:bus/subscriptions', verb: 'see', handle: list },
  { method: 'POST', path: `${ONE}/pause`, verb: 'operate', action: 'subscriptions.pause', handle: pause },
  { method: 'POST', path: `${ONE}/resume`, verb: 'operate', action: 'subscriptions.resume', handle: resume },
  {
    method: 'POST',
    path: `${ONE}/rebuild`,
    verb: 'change',
    action: 'subscriptions.rebuild',
    handle: rebuild,
  },
]

async function list(context: RequestContext): Promise<Page> {
  const managers = await Promise.all(
    [...context.subscriptions].map(([name, manager]) => ofManager(context, name, manager)),
  )
  const stores = await Promise.all(
    [...context.stores].map(([name, store]) => checkpoints(context, name, store)),
  )
  const isNone = managers.length + stores.length === 0
  return {
    title: 'Subscriptions',
    section: 'subscriptions',
    refreshSeconds: 2,
    main: html`<div class="head"><h1>Subscriptions</h1></div>
${isNone && card('Subscriptions', empty('No subscriptions', 'The program has passed no manager and no store to the page: options subscriptions and stores.'))}
${managers}${stores}`,
  }
}

async function ofManager(context: RequestContext, name: string, manager: SubscriptionManager): Promise<Html> {
  try {
    const all = Object.values(await answered(manager.status()))
    if (all.length === 0) return card(name, empty('No subscription', 'The manager has none in this program.'))
    return html`<h2>${foreign(name)}</h2><div class="cards">${all.map((status) => subscriptionCard(context, name, status))}</div>`
  } catch (thrown) {
    return problem(context, name, thrown)
  }
}

type Row = NamedCheckpoint & { readonly lag: number }

/** The checkpoints of a store, also those of other programs. */
async function checkpoints(
  context: RequestContext,
  name: string,
  { checkpoints, events }: OperatorStore,
): Promise<Html> {
  try {
    const [listed, head] = await answered(Promise.all([checkpoints.list(), events.headPosition()]))
    const rows = listed.map((one) => ({ ...one, lag: Math.max(0, head - one.position) }))
    if (rows.length === 0) return card(`Checkpoints of ${name}`, empty('No checkpoint was saved yet'))
    return card(`Checkpoints of ${name}`, checkpointTable(name, rows))
  } catch (thrown) {
    return problem(context, `Checkpoints of ${name}`, thrown)
  }
}

function checkpointTable(store: string, rows: readonly Row[]): Html {
  return table<Row>({
    caption: `Checkpoints of ${store}`,
    rows,
    id: ({ name }) => `checkpoint-${store}-${name}`,
    columns: [
      { label: 'Subscription', kind: 'main', cell: ({ name }) => foreign(name) },
      { label: 'Position', kind: 'number', cell: ({ position }) => numberText(position) },
      { label: 'Lag', kind: 'number', cell: ({ lag }) => numberText(lag) },
      { label: 'Saved', kind: 'number', cell: ({ savedAt }) => html`${age(savedAt)} ago` },
    ],
  })
}

function problem({ mask }: RequestContext, heading: string, thrown: unknown): Html {
  return card(heading, empty('The store does not answer', mask.text(toError(thrown).message)))
}
