import { type Chronicle, overlaps } from './chronicle.ts'
import { isOwed, settledIn } from './judge-delivery.ts'
import type { GroupRules } from './rules.ts'

/** The longest time in which a group settled nothing, although events waited for it. */
export interface Stall {
  readonly ms: number
  readonly group: string
  /** The faults of this time. */
  readonly faults: readonly string[]
}

/** The longest stall of all groups; undefined if no event was confirmed. */
export function longestStall(chronicle: Chronicle, groups: readonly GroupRules[]): Stall | undefined {
  const stalls = groups.flatMap((group) => stallOf(chronicle, group) ?? [])
  return stalls.toSorted((a, b) => b.ms - a.ms)[0]
}

function stallOf(chronicle: Chronicle, group: GroupRules): Stall | undefined {
  const changes = changesOf(chronicle, group)
  let waiting = 0
  let since = 0
  let longest = { from: 0, to: -1 }
  for (const { at, by } of changes) {
    if (waiting > 0 && by < 0 && at - since > longest.to - longest.from) longest = { from: since, to: at }
    if (by < 0 || waiting === 0) since = at
    waiting += by
  }
  const { from, to } = longest
  if (to < from) return undefined
  const faults = chronicle.faults.filter((fault) => overlaps(fault, from, to)).map(({ name }) => name)
  return { ms: Math.round(to - from), group: group.name, faults }
}

/** When the number of events that wait for the group changed, in order of time. Those that were lost are left out. */
function changesOf(chronicle: Chronicle, group: GroupRules): readonly { at: number; by: 1 | -1 }[] {
  const settled = settledIn(chronicle, group)
  return [...chronicle.publications.values()]
    .flatMap((publication) => {
      const { event, outcome, settledAt } = publication
      const times = group.handlers
        .filter((handler) => isOwed(group, handler, publication))
        .map((handler) => settled.get(`${handler} ${event}`) ?? Infinity)
      const doneAt = Math.max(...times)
      if (outcome !== 'confirmed' || times.length === 0 || doneAt === Infinity || doneAt <= settledAt)
        return []
      return [
        { at: settledAt, by: 1 as const },
        { at: doneAt, by: -1 as const },
      ]
    })
    .toSorted((a, b) => a.at - b.at)
}
