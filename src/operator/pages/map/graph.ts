import type { Topology } from '../../../bus/index.ts'

/** A box of the map. */
export interface MapNode {
  readonly id: string
  readonly kind: 'producer' | 'event' | 'handler'
  readonly text: string
  /** The group of a handler. */
  readonly group: string | undefined
}

export interface MapArrow {
  readonly from: string
  readonly to: string
}

/** What a map shows. */
export interface MapGraph {
  readonly nodes: readonly MapNode[]
  readonly arrows: readonly MapArrow[]
}

const idOf = (kind: MapNode['kind'], ...names: readonly string[]) => JSON.stringify([kind, ...names])

/** The part of a topology that the viewer may see. A producer without a name of its own has that of its group. */
export function seenTopology(all: Topology, isSeen: (group: string) => boolean): Topology {
  const { groups: living, handlers: running, edges: known } = all
  const named = [...living.map(({ name }) => name), ...[...running, ...known].map(({ group }) => group)]
  const hidden = new Set(named.filter((name) => !isSeen(name)))
  const producers = all.producers.filter(({ name }) => !hidden.has(name))
  const handlers = all.handlers.filter(({ group }) => !hidden.has(group))
  const edges = all.edges.filter(({ group }) => !hidden.has(group))
  const groups = all.groups.filter(({ name }) => !hidden.has(name))
  if (hidden.size === 0) return all
  const types = new Set([
    ...producers.flatMap(({ eventTypes }) => eventTypes),
    ...handlers.flatMap(({ eventTypes }) => eventTypes),
    ...edges.map(({ publishes }) => publishes),
  ])
  return { producers, handlers, edges, groups, events: all.events.filter((type) => types.has(type)) }
}

/** Producers, events and handlers, with an arrow for each way of an event. */
export function graphOf({ producers, events, handlers, edges }: Topology): MapGraph {
  const arrows = new Map<string, MapArrow>()
  const add = (from: string, to: string) => arrows.set(`${from} ${to}`, { from, to })
  // What a handler publishes needs no arrow from its program.
  const known = new Set(handlers.map(({ group, name }) => idOf('handler', group, name)))
  const inner = edges.filter(({ group, handler }) => known.has(idOf('handler', group, handler)))
  const byHandlers = new Set(inner.map(({ group, publishes }) => JSON.stringify([group, publishes])))
  const sources = producers.flatMap(({ name, eventTypes }) => {
    const own = eventTypes.filter((type) => !byHandlers.has(JSON.stringify([name, type])))
    for (const type of own) add(idOf('producer', name), idOf('event', type))
    return own.length === 0 ? [] : [name]
  })
  for (const { group, name, eventTypes } of handlers) {
    const types = eventTypes.includes('*') ? events : eventTypes
    for (const type of types) add(idOf('event', type), idOf('handler', group, name))
  }
  for (const { group, handler, publishes } of inner)
    add(idOf('handler', group, handler), idOf('event', publishes))
  // An event of another bus, by which a handler there publishes here, has no arrow here.
  const reached = new Set([...arrows.values()].flatMap(({ from, to }) => [from, to]))
  const shown = events.filter((text) => reached.has(idOf('event', text)))
  return {
    nodes: [
      ...sources.map((text) => ({
        ...{ id: idOf('producer', text), kind: 'producer' as const, text, group: undefined },
      })),
      ...shown.map((text) => ({ id: idOf('event', text), kind: 'event' as const, text, group: undefined })),
      ...handlers.map(({ group, name }) => ({
        ...{ id: idOf('handler', group, name), kind: 'handler' as const, text: name, group },
      })),
    ],
    arrows: [...arrows.values()],
  }
}
