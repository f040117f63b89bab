import { place, UsageError } from '../../filter-line/index.ts'
import type { GroupPartition } from '../../transport/index.ts'
import { BusWatch, SHOWN_MS } from '../bus-watch.ts'
import {
  age,
  card,
  counted,
  empty,
  number,
  numberText,
  table,
  verbForm,
  when,
  whyField,
} from '../components.ts'
import type { RequestContext } from '../context.ts'
import { foreign, type Html, html } from '../html.ts'
import { HttpError } from '../http-error.ts'
import type { Done, Page, Route } from '../route.ts'
import { sparkline } from '../sparkline.ts'
import { deadLink, groupTable, type SeenGroup, seenGroups, staleNotice, stateOf } from './group-table.ts'
import { cut } from './letters/format.ts'

const GROUP = '/:bus/groups/:group'

/** The consumer groups of a bus: pause, resume, move, delete. */
export const groups: readonly Route[] = [
  { method: 'GET', path: '/:bus/groups', verb: 'see', handle: list },
  { method: 'GET', path: GROUP, verb: 'see', handle: one },
  { method: 'POST', path: `${GROUP}/pause`, verb: 'operate', action: 'groups.pause', handle: pause },
  { method: 'POST', path: `${GROUP}/resume`, verb: 'operate', action: 'groups.resume', handle: resume },
  {
    method: 'POST',
    path: `${GROUP}/seek`,
    verb: 'change',
    action: 'groups.seek',
    target: toOf,
    handle: seek,
  },
  { method: 'POST', path: `${GROUP}/delete`, verb: 'change', action: 'groups.delete', handle: remove },
]

async function list(context: RequestContext): Promise<Page> {
  const view = await context.state(BusWatch.key).view(context.busName)
  const seen = seenGroups(view, context)
  const table =
    seen.length > 0
      ? groupTable(seen, context)
      : empty('No consumer group yet', 'A group appears here as soon as a consumer has started.')
  return {
    title: 'Groups',
    section: 'groups',
    refreshSeconds: 3,
    main: html`<div class="head"><h1>Groups</h1></div>${staleNotice(view)}${view.groups !== undefined && html`<section class="card">${table}</section>`}`,
  }
}

async function one(context: RequestContext): Promise<Page> {
  const name = context.param('group')
  const view = await context.state(BusWatch.key).view(context.busName)
  const group = seenGroups(view, context).find((seen) => seen.name === name)
  if (group === undefined && view.problem === undefined) {
    throw new HttpError(404, `There is no group ${name}. It has never consumed, or it was deleted.`)
  }
  return {
    title: name,
    section: 'groups',
    refreshSeconds: 3,
    main: html`<div class="head"><div><h1><span class="quiet">Group</span> ${foreign(cut(name, 200))}</h1>${group !== undefined && stateOf(group)}</div></div>
${staleNotice(view)}
${group !== undefined && details(group, context)}`,
  }
}

function details(group: SeenGroup, context: RequestContext): Html {
  const { name, paused, lag, inFlight, oldestUnsettledAt, retriesWaiting, deadLetters, members } = group
  return html`
${paused !== undefined && html`<div class="callout warn"><p>Paused by <strong>${foreign(paused.by)}</strong> since ${when(paused.at)}${paused.why !== undefined && html`: ${foreign(paused.why)}`}.</p></div>`}
<dl class="tiles">
${fact('Lag', number(lag))}${fact('In flight', number(inFlight))}${fact('Oldest event', age(oldestUnsettledAt))}
${fact('Retrying', number(retriesWaiting))}${fact('Dead letters', deadLink(name, deadLetters, context))}${fact('Consumers', number(members))}
</dl>
${card('Lag of the last 15 minutes', chart(group))}
${group.partitions.length > 0 && card('Partitions', partitions(group.partitions), html`<span class="quiet small">${counted(group.partitions.length, 'partition')}</span>`)}
${verbs(group, context)}`
}

function fact(label: string, value: Parameters<typeof card>[1]): Html {
  return html`<div class="tile"><dt>${label}</dt><dd>${value}</dd></div>`
}

function chart({ name, samples }: SeenGroup): Html {
  const known = samples.flatMap(({ value }) => value ?? [])
  const most = known.length === 0 ? '' : `highest ${numberText(Math.max(...known))}`
  return html`<div class="body chart">${sparkline(samples, { spanMs: SHOWN_MS, label: `Lag of ${name}`, isBig: true })}
<div class="axis"><span>15 min ago</span><span>${most}</span><span>now</span></div></div>`
}

function partitions(all: readonly GroupPartition[]): Html {
  return table({
    caption: 'Partitions',
    rows: all,
    id: ({ partition }) => `partition-${partition}`,
    columns: [
      { label: 'Partition', kind: 'main', cell: ({ partition }) => partition },
      { label: 'Lag', kind: 'number', cell: ({ lag }) => number(lag) },
      { label: 'In flight', kind: 'number', cell: ({ inFlight }) => number(inFlight) },
      { label: 'Oldest', kind: 'number', cell: ({ oldestUnsettledAt }) => age(oldestUnsettledAt) },
      {
        label: 'Owner',
        kind: 'wide',
        cell: ({ consumer }) => html`<span class="mono">${foreign(consumer)}</span>`,
      },
    ],
  })
}

function verbs(group: SeenGroup, context: RequestContext): Html | undefined {
  const { name } = group
  const link = (verb: string) => context.links.bus(['groups', name, verb])
  const forms = [
    ...(context.can('operate', name)
      ? [group.paused === undefined ? pauseForm(link('pause')) : resumeForm(link('resume'))]
      : []),
    ...(context.can('change', name)
      ? [seekForm(group, link('seek')), deleteForm(group, link('delete'))]
      : []),
  ]
  if (forms.length === 0) return undefined
  return card('Change', html`<div class="body"><div class="verbs">${forms}</div></div>`)
}

function pauseForm(action: string): Html {
  const fields = html`<p class="small">Its handlers stop in all processes, until somebody resumes it. Events wait on the broker.</p>${whyField('pause', true)}`
  return verbForm({ id: 'pause', label: 'Pause', action, fields, submit: 'Pause the group' })
}

function resumeForm(action: string): Html {
  return html`<form method="post" action="${action}"><button class="primary">Resume the group</button></form>`
}

function seekForm({ name, members }: SeenGroup, action: string): Html {
  const living =
    members > 0 &&
    html`<p class="small warm">${counted(members, 'consumer')} of ${foreign(name)} ${members === 1 ? 'runs' : 'run'}: stop all of them first.</p>`
  const fields = html`<p class="small">The group gets the events behind the place, whether it has handled them or not. Other groups are not affected.</p>${living}
<div class="field"><label for="seek-to">Place <span class="hint">a time, 2h for two hours ago, first, last, or the position of an event</span></label><input id="seek-to" name="to" required autocomplete="off" spellcheck="false"></div>
<label><input type="checkbox" name="dry" value="yes" checked> only count the events behind it</label>${whyField('seek')}`
  return verbForm({
    id: 'seek',
    label: 'Move to another place',
    action,
    fields,
    submit: 'Move the group',
    isDangerous: true,
  })
}

function deleteForm({ name, lag, inFlight }: SeenGroup, action: string): Html {
  const waiting = (lag ?? 0) + (inFlight ?? 0)
  const fields = html`<p class="small">The group loses its position${waiting > 0 && html`, and <strong>${counted(waiting, 'event')}</strong> that it has not handled`}. Dead letters stay. A group with a living consumer is not deleted.</p>
<div class="field"><label for="delete-name">Name of the group <span class="hint">to confirm</span></label><input id="delete-name" name="name" required autocomplete="off" spellcheck="false" placeholder="${name}"></div>${whyField('delete')}`
  return verbForm({
    id: 'delete',
    label: 'Delete',
    action,
    fields,
    submit: 'Delete the group',
    isDangerous: true,
  })
}

async function pause(context: RequestContext): Promise<Done> {
  const { name, back } = subject(context)
  await changed(context, context.bus.admin.pause(name, context.actor))
  return back(`Paused ${name}. Running handlers end; within two seconds no other one starts.`)
}

async function resume(context: RequestContext): Promise<Done> {
  const { name, back } = subject(context)
  const wasPaused = await changed(context, context.bus.admin.resume(name, context.actor))
  return back(wasPaused ? `Resumed ${name}.` : `${name} was not paused.`, wasPaused ? 1 : 0)
}

async function seek(context: RequestContext): Promise<Done> {
  const { name, back } = subject(context)
  const dryRun = context.form.get('dry') === 'yes'
  const to = placeIn(context)
  const { events } = await changed(context, context.bus.admin.seek(name, to, { ...context.actor, dryRun }))
  const behind = counted(events, 'event')
  return dryRun
    ? back(`${behind} ${events === 1 ? 'is' : 'are'} behind this place. Nothing was changed.`, 0)
    : back(`Moved ${name}: it gets ${behind}.`, events)
}

async function remove(context: RequestContext): Promise<Done> {
  const { name } = subject(context)
  if (context.field('name') !== name) throw new HttpError(400, `To delete the group ${name}, enter its name.`)
  await changed(context, context.bus.admin.deleteGroup(name, context.actor))
  return { goTo: context.links.bus(['groups']), text: `Deleted ${name}.` }
}

/** A change that counts or removes events may take longer than a question, in milliseconds. */
const CHANGE_MS = 30_000

/** Waits for a change. The next page shows the new state. */
async function changed<T>(context: RequestContext, change: Promise<T>): Promise<T> {
  try {
    return await context.ask(change, CHANGE_MS)
  } finally {
    context.state(BusWatch.key).forget(context.busName)
  }
}

/** The group of the request, and the way back to its page. */
function subject(context: RequestContext) {
  const name = context.param('group')
  const back = (text: string, count = 1): Done => ({ goTo: context.links.bus(['groups', name]), text, count })
  return { name, back }
}

function toOf({ form }: RequestContext) {
  return { to: form.get('to') ?? '', dryRun: form.get('dry') === 'yes' }
}

/** @throws HttpError 400 */
function placeIn(context: RequestContext): Date | string {
  try {
    return place(context.field('to'))
  } catch (thrown) {
    if (thrown instanceof UsageError) throw new HttpError(400, `The place ${thrown.message}.`)
    throw thrown
  }
}
