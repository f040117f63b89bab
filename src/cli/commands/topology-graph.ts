import type { Topology } from '../../bus/index.ts'
import { plain } from '../table.ts'

/** The nodes and arrows of a topology. */
interface Graph {
  readonly producers: ReadonlyMap<string, string>
  readonly events: ReadonlyMap<string, string>
  /** By group, the ids and names of its handlers. */
  readonly groups: ReadonlyMap<string, readonly (readonly [id: string, name: string])[]>
  readonly arrows: readonly (readonly [from: string, to: string])[]
}

/** A flowchart of Mermaid. */
export function mermaidOf(topology: Topology): string {
  const { producers, events, groups, arrows } = graphOf(topology)
  const text = (given: string) =>
    plain(given).replace(/[^\p{L}\p{N} .,:_*()/-]/gu, (character) => `#${character.codePointAt(0)};`)
  return [
    'flowchart LR',
    ...[...producers].map(([name, id]) => `  ${id}(["${text(name)}"])`),
    ...[...events].map(([type, id]) => `  ${id}["${text(type)}"]`),
    ...[...groups].flatMap(([group, handlers], index) => [
      `  subgraph g${index}["${text(group)}"]`,
      ...handlers.map(([id, name]) => `    ${id}[["${text(name)}"]]`),
      '  end',
    ]),
    ...arrows.map(([from, to]) => `  ${from} --> ${to}`),
  ].join('\n')
}

/** A directed graph of Graphviz. */
export function dotOf(topology: Topology): string {
  const { producers, events, groups, arrows } = graphOf(topology)
  const text = (given: string) => `"${plain(given).replace(/["\\]/g, '\\$&')}"`
  return [
    'digraph topology {',
    '  rankdir=LR',
    ...[...producers].map(([name, id]) => `  ${id} [label=${text(name)}, shape=oval]`),
    ...[...events].map(([type, id]) => `  ${id} [label=${text(type)}, shape=box]`),
    ...[...groups].flatMap(([group, handlers], index) => [
      `  subgraph cluster_g${index} {`,
      `    label=${text(group)}`,
      ...handlers.map(([id, name]) => `    ${id} [label=${text(name)}, shape=component]`),
      '  }',
    ]),
    ...arrows.map(([from, to]) => `  ${from} -> ${to}`),
    '}',
  ].join('\n')
}

/** A handler of all events gets an arrow from each event. */
function graphOf({ producers, events, handlers, edges }: Topology): Graph {
  const eventIds = new Map(events.map((type, index) => [type, `e${index}`]))
  const producerIds = new Map(producers.map(({ name }, index) => [name, `p${index}`]))
  const handlerIds = new Map(handlers.map((handler, index) => [keyOf(handler), `h${index}`]))
  const idOf = (eventType: string) => eventIds.get(eventType) ?? ''
  const arrows = new Set<string>()
  for (const { name, eventTypes } of producers) {
    for (const type of eventTypes) arrows.add(`${producerIds.get(name)} ${idOf(type)}`)
  }
  for (const handler of handlers) {
    const types = handler.eventTypes.includes('*') ? events : handler.eventTypes
    for (const type of types) arrows.add(`${idOf(type)} ${handlerIds.get(keyOf(handler))}`)
  }
  for (const { group, handler, publishes } of edges) {
    const id = handlerIds.get(keyOf({ group, name: handler }))
    if (id !== undefined) arrows.add(`${id} ${idOf(publishes)}`)
  }
  const groups = Map.groupBy(handlers, ({ group }) => group)
  return {
    producers: producerIds,
    events: eventIds,
    groups: new Map(
      [...groups].map(([group, own]) => [
        group,
        own.map((handler) => [handlerIds.get(keyOf(handler)) ?? '', handler.name] as const),
      ]),
    ),
    arrows: [...arrows].map((arrow) => {
      const [from = '', to = ''] = arrow.split(' ')
      return [from, to] as const
    }),
  }
}

function keyOf({ group, name }: { readonly group: string; readonly name: string }): string {
  return JSON.stringify([group, name])
}
