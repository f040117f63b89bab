import { type Chronicle, hits, type ProcessLife, type Run } from '../../src/verify/chronicle.ts'
import type { Finding } from '../../src/verify/rules.ts'
import type { TortureRule, TortureRules } from './torture-rules.ts'

/** Longest and shortest period that is judged, in milliseconds. */
const [MOST_MS, LEAST_MS] = [2000, 1000]
/** With fewer runs per worker, a period without an event for one of the partitions may be chance. */
const LEAST_RUNS = 25

interface Span {
  readonly from: number
  readonly to: number
}

/** 8: no worker of an ordered group is idle while another one handles more than twice its share. */
export const sharesAreEven: TortureRule = (chronicle, options) =>
  options.groups
    .filter(({ order }) => order === 'group')
    .flatMap(({ name }) => {
      const members = [...chronicle.processes.values()].filter(({ group }) => group === name)
      const runs = chronicle.runs.filter(({ group }) => group === name)
      return quietSpans(chronicle, options, members).flatMap((span) => idlers(chronicle, span, members, runs))
    })

/** The workers that handled nothing in a period in which another one handled more than twice its share. */
function idlers(
  chronicle: Chronicle,
  { from, to }: Span,
  members: readonly ProcessLife[],
  runs: readonly Run[],
): readonly Finding[] {
  const present = members.filter(({ consumingAt, endedAt }) => consumingAt <= from && endedAt >= to)
  const counts = new Map(present.map(({ name }) => [name, 0]))
  for (const { process, startedAt } of runs) {
    const count = counts.get(process)
    if (count !== undefined && startedAt >= from && startedAt <= to) counts.set(process, count + 1)
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
  if (counts.size < 2 || total < LEAST_RUNS * counts.size) return []
  const [busiest, most] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))
  if (most <= (2 * total) / counts.size) return []
  return [...counts]
    .filter(([name, count]) => count === 0 && !wasStarved(chronicle, name, { from, to }))
    .map(([name]): Finding => {
      const message = `${name} was idle for ${Math.round(to - from)} ms while ${busiest} handled ${most} of ${total} events`
      return { rule: 'share', message }
    })
}

/** The periods under load in which no fault, start or end of a worker disturbs the group, or has just done so. */
function quietSpans(
  { publications, faults }: Chronicle,
  { balanceMs }: TortureRules,
  members: readonly ProcessLife[],
): readonly Span[] {
  const confirmed = [...publications.values()].filter(({ outcome }) => outcome === 'confirmed')
  const names = members.map(({ name }) => name)
  const meant = faults.filter((fault) => hits(fault, ...names))
  const disturbances = [
    ...meant.map(({ startedAt, endedAt }) => ({ from: startedAt, to: endedAt + balanceMs })),
    ...members.flatMap(({ consumingAt, endedAt }) => [
      { from: consumingAt - balanceMs, to: consumingAt + balanceMs },
      { from: endedAt, to: endedAt + balanceMs },
    ]),
  ].toSorted((a, b) => a.from - b.from)
  const spans: Span[] = []
  let from = Math.min(...confirmed.map(({ settledAt }) => settledAt))
  const end = Math.max(...confirmed.map(({ publishedAt }) => publishedAt))
  for (const disturbance of [...disturbances, { from: end, to: end }]) {
    const to = Math.min(disturbance.from, end)
    for (; to - from >= LEAST_MS; from += MOST_MS) spans.push({ from, to: Math.min(to, from + MOST_MS) })
    from = Math.max(from, disturbance.to)
  }
  return spans
}

/** True if the process got no CPU for half of the time or more. */
function wasStarved(chronicle: Chronicle, name: string, { from, to }: Span): boolean {
  return chronicle.lateness((process) => process === name, from, to) * 2 >= to - from
}
