import { type Chronicle, overlaps, type Run } from './chronicle.ts'
import type { Finding, GroupRules, JudgeOptions, Rule } from './judge.ts'

/** By how many milliseconds simultaneous facts of two processes may be out of order. */
const CLOCK_MS = 5

/**
 * 1: every handler of every group handled every confirmed event, or the event is in the group's dead letters. The dead letter
 * of an event that cannot be decoded is for all handlers.
 */
export const nothingLost: Rule = ({ publications, runs, letters }, { groups }) => {
  const done = new Set(
    runs
      .filter(({ outcome }) => outcome === 'finished')
      .map((run) => `${run.group} ${run.handler} ${run.event}`),
  )
  const all = new Map(groups.map(({ name, handlers }) => [name, handlers]))
  for (const { group, handlers, event } of letters) {
    const meant = publications.get(event)?.isPoison ? all.get(group) : handlers
    for (const handler of meant ?? []) done.add(`${group} ${handler} ${event}`)
  }
  const confirmed = [...publications.values()].filter(({ outcome }) => outcome === 'confirmed')
  const owed = groups.flatMap(({ name, handlers }) => handlers.map((handler) => `${name} ${handler}`))
  return owed.flatMap((debtor) =>
    confirmed
      .filter(({ event }) => !done.has(`${debtor} ${event}`))
      .map(({ event }): Finding => ({ rule: 'lost', message: `${event} never reached ${debtor}`, event })),
  )
}

/** 2: no event was handled that was never published, that the publish reported as not stored, or that cannot be decoded. */
export const nothingInvented: Rule = ({ publications, runs }) =>
  runs.flatMap(({ event, startedAt, handler }): readonly Finding[] => {
    const publication = publications.get(event)
    if (publication === undefined || publication.publishedAt > startedAt + CLOCK_MS)
      return [{ rule: 'invented', message: `${handler} got ${event}, which was never published`, event }]
    if (publication.isPoison)
      return [{ rule: 'invented', message: `${handler} got ${event}, which cannot be decoded`, event }]
    if (publication.outcome === 'notStored')
      return [
        { rule: 'invented', message: `${handler} got ${event}, which was "certainly not stored"`, event },
      ]
    return []
  })

/** 3: events of an aggregate are handled in the order of publishing; none overtakes one that is being retried. */
export const orderKept: Rule = (chronicle, options) =>
  options.groups.flatMap((group) => {
    const replays = chronicle.replays.filter((replay) => replay.group === group.name).toReversed()
    const replayedAt = new Map(replays.map(({ event, at }) => [event, at]))
    // A dead letter is in no order: later events were handled in the meantime, and its replay may come at any time.
    const isReplay = ({ event, startedAt }: Run) => startedAt >= (replayedAt.get(event) ?? Infinity)
    const ofGroup = chronicle.runs.filter((run) => run.group === group.name && !isReplay(run))
    const scopes = Map.groupBy(ofGroup, ({ aggregate, process }) =>
      group.order === 'group' ? aggregate : `${aggregate} ${process}`,
    )
    return [...scopes.values()].flatMap((runs) => overtakings(chronicle, options, group, runs))
  })

/** One aggregate, as a group or one of its consumers handled it. */
function overtakings(
  chronicle: Chronicle,
  options: JudgeOptions,
  group: GroupRules,
  runs: readonly Run[],
): readonly Finding[] {
  const findings: Finding[] = []
  const settledAt = settlements(chronicle, options, runs)
  const seen = new Set<number>()
  let open: readonly Run[] = []
  let highest: Run | undefined
  for (const run of runs) {
    if (seen.has(run.n)) continue
    seen.add(run.n)
    if (highest && highest.n > run.n && !isExcused(chronicle, group, run, highest.startedAt))
      findings.push(finding(`${run.event} was first handled after ${highest.event}`, run))
    open = open.filter(({ event }) => (settledAt.get(event) ?? Infinity) > run.startedAt + CLOCK_MS)
    const overtaken = open.find(({ n }) => n < run.n)
    if (overtaken && !isExcused(chronicle, group, overtaken, run.startedAt))
      findings.push(finding(`${run.event} overtook ${overtaken.event}, which was not settled`, overtaken))
    open = [...open, run]
    if (highest === undefined || run.n > highest.n) highest = run
  }
  return findings
}

/** When the last of the handlers that started an event finished it for the first time. */
function settlements(
  { letters }: Chronicle,
  { maxAttempts }: JudgeOptions,
  runs: readonly Run[],
): ReadonlyMap<string, number> {
  const settled = new Map<string, number>()
  for (const [event, ofEvent] of Map.groupBy(runs, (run) => run.event)) {
    const letter = letters.find((it) => it.event === event && it.group === ofEvent[0]?.group)?.at ?? Infinity
    const perHandler = [...Map.groupBy(ofEvent, ({ handler }) => handler).values()].map((ofHandler) =>
      Math.min(letter, ...ofHandler.filter((run) => isLast(run, maxAttempts)).map(({ endedAt }) => endedAt)),
    )
    settled.set(event, Math.max(...perHandler))
  }
  return settled
}

function isLast({ outcome, attempt }: Run, maxAttempts: number): boolean {
  return outcome === 'finished' || (outcome === 'failed' && attempt >= maxAttempts)
}

/** If consumers compete, an event that another consumer took over is in no order. */
function isExcused({ publications, faults }: Chronicle, group: GroupRules, run: Run, until: number): boolean {
  if (group.order === 'group') return false
  const from = publications.get(run.event)?.publishedAt ?? run.startedAt
  return faults.some((fault) => overlaps(fault, from, Math.max(run.startedAt, until)))
}

function finding(message: string, { group, process, event }: Run): Finding {
  return { rule: 'order', message: `${message} (group ${group}, ${process})`, event }
}
