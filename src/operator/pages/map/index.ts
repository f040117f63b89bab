import type { Topology } from '../../../bus/index.ts'
import type { GroupInfo } from '../../../transport/index.ts'
import { BusWatch } from '../../bus-watch.ts'
import { card, counted, empty, table } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { quoted } from '../../quoted.ts'
import type { Page, Route } from '../../route.ts'
import { cut, names } from '../letters/format.ts'
import { graphOf, seenTopology } from './graph.ts'
import { BOX, type PlacedGraph, type PlacedNode, placed } from './place.ts'

/** Most boxes of a drawing; a larger map is a table. */
const MAX_BOXES = 150
/** Longest text in a box, in characters. */
const MAX_TEXT = 24

/** Who publishes what, and which handlers get it. */
export const map: readonly Route[] = [{ method: 'GET', path: '/:bus/map', verb: 'see', handle: page }]

async function page(context: RequestContext): Promise<Page> {
  const all = await context.ask(context.bus.admin.topology())
  const { groups = [] } = await context.state(BusWatch.key).view(context.busName)
  const topology = seenTopology(all, (group) => context.can('see', group))
  return {
    title: 'Map',
    section: 'map',
    refreshSeconds: 5,
    main: html`<div class="head"><h1>Map</h1></div>
<p class="quiet">Who publishes which events, and which handlers get them, as the living processes report it. A process reports what it has published since its start.</p>
${topology.events.length === 0 ? card('Map', empty('Nothing to show yet', 'Consumers appear within seconds after their start, producers after their first event.')) : html`${drawing(context, topology, groups)}${eventTable(context, topology)}`}`,
  }
}

function drawing(context: RequestContext, topology: Topology, groups: readonly GroupInfo[]): Html {
  const graph = graphOf(topology)
  if (graph.nodes.length > MAX_BOXES) {
    return html`<p class="quiet">The map has ${graph.nodes.length} boxes, which is too many for a drawing. The table lists them.</p>`
  }
  const states = new Map(groups.map((group) => [group.name, stateOf(group)]))
  const { groups: living, producers } = topology
  const aside = html`<span class="quiet small">${counted(producers.length, 'producer')}, ${counted(topology.events.length, 'event')}, ${counted(living.length, 'group')}</span>`
  const body = html`<div class="map" role="region" tabindex="0" aria-label="Drawing of the map; the table below has the same content">${svg(context, placed(graph), states)}</div>`
  return card('Producers, events, handlers', body, aside)
}

function stateOf({ deadLetters, members }: GroupInfo): 'bad' | 'warn' | undefined {
  if (deadLetters > 0) return 'bad'
  return members === 0 ? 'warn' : undefined
}

function svg(
  context: RequestContext,
  { nodes, curves, width, height }: PlacedGraph,
  states: ReadonlyMap<string, string | undefined>,
): Html {
  return html`<svg aria-hidden="true" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>
${curves.map((path) => html`<path d="${path}" marker-end="url(#arrow)"/>`)}
${nodes.map((node) => box(context, node, states.get(node.group ?? '')))}</svg>`
}

function box({ links }: RequestContext, node: PlacedNode, state: string | undefined): Html {
  const { kind, text, group, x, y } = node
  const middle = y + BOX.height / 2
  const lines =
    group === undefined
      ? html`<text x="${x + BOX.width / 2}" y="${middle + 5}" text-anchor="middle">${cut(text, MAX_TEXT)}</text>`
      : html`<text x="${x + BOX.width / 2}" y="${middle - 1}" text-anchor="middle">${cut(text, MAX_TEXT)}</text><text class="sub" x="${x + BOX.width / 2}" y="${middle + 13}" text-anchor="middle">${cut(group, MAX_TEXT)}</text>`
  const title = group === undefined ? text : `${group}: ${text}`
  const shape = html`<title>${cut(title, 300)}</title><rect x="${x}" y="${y}" width="${BOX.width}" height="${BOX.height}" rx="${kind === 'event' ? 4 : 12}"/>${lines}`
  const href = kind === 'producer' ? undefined : linkOf(links, node)
  return html`<g class="${kind} ${state}">${href === undefined ? shape : html`<a href="${href}" tabindex="-1">${shape}</a>`}</g>`
}

function linkOf(links: RequestContext['links'], { text, group }: PlacedNode): string {
  return group === undefined
    ? links.bus(['events'], { filter: `type:${quoted(text)}` })
    : links.bus(['groups', group])
}

interface Row {
  readonly type: string
  readonly producers: readonly string[]
  readonly handlers: Topology['handlers']
}

function eventTable({ links }: RequestContext, { producers, events, handlers, edges }: Topology): Html {
  const isByHandler = (name: string, type: string) =>
    edges.some(({ group, publishes }) => group === name && publishes === type)
  const all = events.map((type) => ({
    type,
    producers: [
      ...producers
        .filter(({ name, eventTypes }) => eventTypes.includes(type) && !isByHandler(name, type))
        .map(({ name }) => name),
      ...edges
        .filter(({ publishes }) => publishes === type)
        .map(({ group, handler, eventType }) => `${group}: ${handler} (after ${eventType})`),
    ],
    handlers: handlers.filter(({ eventTypes }) => eventTypes.includes(type) || eventTypes.includes('*')),
  }))
  // An event of another bus, by which a handler there publishes here, has neither.
  const rows = all.filter((row) => row.producers.length + row.handlers.length > 0)
  const body = table<Row>({
    caption: 'Events with their producers and handlers',
    rows,
    id: ({ type }) => `type-${type}`,
    columns: [
      {
        label: 'Event',
        kind: 'main',
        cell: ({ type }) =>
          html`<a href="${links.bus(['events'], { filter: `type:${quoted(type)}` })}">${foreign(cut(type, 120))}</a>`,
      },
      {
        label: 'Published by',
        cell: ({ producers: all }) =>
          all.length === 0
            ? foreign(undefined)
            : html`${all.map((one) => html`<div>${foreign(cut(one, 120))}</div>`)}`,
      },
      {
        label: 'Handled by',
        cell: ({ handlers: all }) =>
          all.length === 0
            ? foreign(undefined)
            : html`${all.map(({ group, name }) => html`<div><a href="${links.bus(['groups', group])}">${foreign(cut(group, 60))}</a>: ${names([name])}</div>`)}`,
      },
    ],
  })
  return card('Events', body)
}
