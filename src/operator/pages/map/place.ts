import type { MapArrow, MapGraph, MapNode } from './graph.ts'

/** Sizes of the map, in its own units. */
export const BOX = { width: 172, height: 40 } as const
const GAP = { x: 62, y: 16 } as const
const MARGIN = 12
/** Passes that bring connected boxes closer to each other. */
const PASSES = 4

export interface PlacedNode extends MapNode {
  readonly x: number
  readonly y: number
}

/** Where each box of a map is. */
export interface PlacedGraph {
  readonly nodes: readonly PlacedNode[]
  /** Curves between two boxes, as the path of SVG. */
  readonly curves: readonly string[]
  readonly width: number
  readonly height: number
}

/** Places the boxes in columns, each behind what leads to it. */
export function placed({ nodes, arrows }: MapGraph): PlacedGraph {
  const before = Map.groupBy(arrows, ({ to }) => to)
  const after = Map.groupBy(arrows, ({ from }) => from)
  const ranks = ranksOf({ nodes, arrows })
  const columns = [...Map.groupBy(nodes, ({ id }) => ranks.get(id) ?? 0)]
    .toSorted(([a], [b]) => a - b)
    .map(([, column]) => column)
  const places = new Map(columns.flatMap((column) => column.map(({ id }, index) => [id, index] as const)))
  const near = (id: string) => {
    const ids = [
      ...(before.get(id) ?? []).map(({ from }) => from),
      ...(after.get(id) ?? []).map(({ to }) => to),
    ]
    const sum = ids.reduce((total, other) => total + (places.get(other) ?? 0), 0)
    return ids.length === 0 ? (places.get(id) ?? 0) : sum / ids.length
  }
  for (let pass = 0; pass < PASSES; pass += 1) {
    for (const column of columns) {
      column.sort((a, b) => near(a.id) - near(b.id))
      for (const [index, { id }] of column.entries()) places.set(id, index)
    }
  }
  return drawn(columns, arrows)
}

/** The column of each box: one behind the last one that leads to it. What leads back in a circle does not count. */
function ranksOf({ nodes, arrows }: MapGraph): ReadonlyMap<string, number> {
  const forward = withoutCircles({ nodes, arrows })
  const causes = Map.groupBy(forward, ({ to }) => to)
  const ranks = new Map<string, number>()
  const rank = (id: string, first: number): number => {
    const known = ranks.get(id)
    if (known !== undefined) return known
    const behind = (causes.get(id) ?? []).map(({ from }) => rank(from, 0) + 1)
    const found = Math.max(first, ...behind)
    ranks.set(id, found)
    return found
  }
  // An event that nobody is known to publish stands where events stand.
  for (const { id, kind } of nodes) if (kind === 'event' && !causes.has(id)) rank(id, 1)
  for (const { id } of nodes) rank(id, 0)
  return ranks
}

/** The arrows without those that lead back to where they come from. */
function withoutCircles({ nodes, arrows }: MapGraph): MapGraph['arrows'] {
  const after = Map.groupBy(arrows, ({ from }) => from)
  const [seen, open] = [new Set<string>(), new Set<string>()]
  const forward: MapArrow[] = []
  const visit = (id: string): void => {
    seen.add(id)
    open.add(id)
    for (const arrow of after.get(id) ?? []) {
      if (open.has(arrow.to)) continue
      forward.push(arrow)
      if (!seen.has(arrow.to)) visit(arrow.to)
    }
    open.delete(id)
  }
  // Producers come first: a circle is opened where they enter it.
  for (const { id } of nodes) if (!seen.has(id)) visit(id)
  return forward
}

function drawn(columns: readonly (readonly MapNode[])[], arrows: MapGraph['arrows']): PlacedGraph {
  const tallest = Math.max(1, ...columns.map(({ length }) => length))
  const height = tallest * (BOX.height + GAP.y) - GAP.y + 2 * MARGIN
  const nodes = columns.flatMap((column, index) => {
    const taken = column.length * (BOX.height + GAP.y) - GAP.y
    return column.map((node, row) => ({
      ...node,
      x: MARGIN + index * (BOX.width + GAP.x),
      y: (height - taken) / 2 + row * (BOX.height + GAP.y),
    }))
  })
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const curves = arrows.flatMap(({ from, to }) => {
    const [start, end] = [byId.get(from), byId.get(to)]
    return start === undefined || end === undefined ? [] : [curve(start, end)]
  })
  const width = Math.max(1, columns.length) * (BOX.width + GAP.x) - GAP.x + 2 * MARGIN
  return { nodes, curves, width, height }
}

function curve(from: PlacedNode, to: PlacedNode): string {
  const [x1, y1] = [from.x + BOX.width, from.y + BOX.height / 2]
  const [x2, y2] = [to.x - 3, to.y + BOX.height / 2]
  const bend = Math.max(GAP.x / 2, Math.abs(x2 - x1) / 2)
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`
}
