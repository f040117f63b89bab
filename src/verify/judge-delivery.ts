import { type Chronicle, overlaps, type Publication, type Run } from './chronicle.ts'
import type { Finding, GroupRules, JudgeOptions, Rule } from './rules.ts'

/** By how many milliseconds simultaneous facts of two processes may be out of order. */
const CLOCK_MS = 5

/** How long a broker may still deliver to a connection that was cut, in milliseconds. It learns of the cut a moment later. */
const NOTICE_MS = 100

/**
 * 1: every handler of every group handled every confirmed event, or the event is in the group's dead letters. The dead letter
 * of an event that cannot be decoded is for all handlers.
 */
export const nothingLost: Rule = (chronicle, { groups }) => {
  const confirmed = [...chronicle.publications.values()].filter(({ outcome }) => outcome === 'confirmed')
  return groups.flatMap((group) => {
    const { name } = group
    const done = settledIn(chronicle, group)
    return group.handlers.flatMap((handler) =>
      confirmed
        .filter((event) => isOwed(group, handler, event) && !done.has(`${handler} ${event.event}`))
        .map(({ event }): Finding => {
          const message = `${event} never reached ${name} ${handler}`
          return { rule: 'lost', message, event, group: name }
        }),
    )
  })
}

/** True if the handler gets events of this type. */
export function isOwed({ typesOf }: GroupRules, handler: string, { type = '' }: Publication): boolean {
  const types = typesOf?.get(handler)
  return types === undefined || types.includes('*') || types.includes(type)
}

/** When each handler of the group handled each event for the first time, or it was dead-lettered. */
export function settledIn(
  { publications, runs, letters }: Chronicle,
  { name, handlers }: GroupRules,
): ReadonlyMap<string, number> {
  const settled = new Map<string, number>()
  const note = (key: string, at: number) => settled.set(key, Math.min(at, settled.get(key) ?? Infinity))
  for (const { group, handler, event, outcome, endedAt } of runs)
    if (group === name && outcome === 'finished') note(`${handler} ${event}`, endedAt)
  for (const { group, handlers: failed, event, at } of letters) {
    if (group !== name) continue
    for (const handler of publications.get(event)?.isPoison ? handlers : failed)
      note(`${handler} ${event}`, at)
  }
  return settled
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
    if (
      overtaken &&
      !isExcused(chronicle, group, overtaken, run.startedAt) &&
      !isForgotten(chronicle, overtaken, run.startedAt)
    )
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
  const from = (publications.get(run.event)?.publishedAt ?? run.startedAt) - NOTICE_MS
  return faults.some((fault) => overlaps(fault, from, Math.max(run.startedAt, until)))
}

/** True if the broker died after it had delivered an event that it had not confirmed, and never delivered it again. */
function isForgotten(
  { publications, realFaults, runs, letters }: Chronicle,
  run: Run,
  until: number,
): boolean {
  const { event, group, startedAt } = run
  if (publications.get(event)?.outcome === 'confirmed') return false
  const isBack =
    runs.some((it) => it.event === event && it.group === group && it.startedAt >= until) ||
    letters.some((it) => it.event === event && it.group === group)
  return (
    !isBack && realFaults.some((fault) => fault.targets.includes('*') && overlaps(fault, startedAt, until))
  )
}

function finding(message: string, { group, process, event }: Run): Finding {
  return { rule: 'order', message: `${message} (group ${group}, ${process})`, event }
}

/** 6: a publish settles, unless its process was killed. */
export const publishesSettle: Rule = ({ publications, processes }) =>
  [...publications.values()]
    .filter(({ outcome, process }) => outcome === 'open' && processes.get(process)?.wasKilled !== true)
    .map(({ event }) => ({ rule: 'recovery', message: `the publish of ${event} never settled`, event }))

/** 7: no error is unhandled, and the broker has no unsettled message. */
export const nothingUnsettled: Rule = ({ unhandled, brokerEnds }) => [
  ...unhandled.map(({ process, what, error }): Finding => {
    return { rule: 'conduct', message: `${process}: ${what} without a handler: ${error}` }
  }),
  ...brokerEnds
    .filter(({ unsettled }) => unsettled > 0)
    .map(({ group, unsettled, detail }): Finding => {
      const message = `the broker still has ${unsettled} unsettled messages of ${group}: ${detail}`
      return { rule: 'conduct', message }
    }),
]
