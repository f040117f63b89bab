import { type Chronicle, type Fault, hits, overlaps, type Run } from './chronicle.ts'
import type { DeadLetterFact } from './history.ts'
import type { Finding, JudgeOptions, Rule } from './rules.ts'

/** 4: an event succeeds twice only if a fault hit it in flight, and no more events than a process had in flight. */
export const duplicatesOnlyAtFaults: Rule = (chronicle, options) => {
  const findings: Finding[] = []
  const caused = new Map<string, Set<string>>()
  for (const runs of byHandler(finishedRuns(chronicle))) {
    for (const [index, run] of runs.entries()) {
      const before = runs[index - 1]
      if (before === undefined) continue
      const causes = causesOf(chronicle, options, before, run)
      const [cause] = causes
      if (cause === undefined) findings.push(twice(before, run))
      else add(caused, `${cause.name} in ${before.process} of ${run.group}`, run.event)
    }
  }
  for (const [cause, events] of caused) {
    if (events.size <= options.maxInFlight) continue
    const [event] = events
    const message = `${events.size} events were handled twice after ${cause}, but only ${options.maxInFlight} could be in flight`
    findings.push(
      event === undefined ? { rule: 'duplicate', message } : { rule: 'duplicate', message, event },
    )
  }
  return findings
}

/** For how long a process handles what its sockets had received before a fault cut them, in milliseconds. */
const IN_FLIGHT_MS = 50

/** The faults that hit the first run between the arrival of its event and its acknowledgment. */
function causesOf(chronicle: Chronicle, { ackMs }: JudgeOptions, first: Run, second: Run): readonly Fault[] {
  const { realFaults } = chronicle
  const isMeant = (process: string) => process === first.process
  const lateMs = chronicle.lateness(isMeant, first.endedAt, first.endedAt + ackMs)
  return realFaults.filter(
    (fault) =>
      hits(fault, first.process, second.process) &&
      overlaps(fault, first.startedAt - IN_FLIGHT_MS, first.endedAt + ackMs + lateMs),
  )
}

function twice(first: Run, second: Run): Finding {
  const { event, handler, group } = second
  const message = `${handler} of ${group} handled ${event} twice without a fault (${first.process}, then ${second.process})`
  return { rule: 'duplicate', message, event }
}

/** 5: attempts follow the policy, and each failure ends in success or in exactly one dead letter. */
export const attemptsWithinPolicy: Rule = (chronicle, options) => {
  const tried = byHandler(chronicle.runs).flatMap((runs) => tooManyAttempts(chronicle, options, runs))
  const runsOf = Map.groupBy(chronicle.runs, ({ group, event }) => `${group} ${event}`)
  const lettersOf = Map.groupBy(chronicle.letters, ({ group, event }) => `${group} ${event}`)
  const buried = [...lettersOf].flatMap(([key, letters]) =>
    burial(chronicle, options, letters, runsOf.get(key) ?? []),
  )
  return [...tried, ...buried]
}

/** The dead letters of one event in one group. */
function burial(
  chronicle: Chronicle,
  { maxAttempts, ackMs, takeoverMs }: JudgeOptions,
  letters: readonly DeadLetterFact[],
  runs: readonly Run[],
): readonly Finding[] {
  const [letter] = letters
  if (letter === undefined) return []
  const { event, group, reason } = letter
  const isPoison = chronicle.publications.get(event)?.isPoison === true
  const isExcused = faultsDuring(chronicle.realFaults, runs).length > 0
  // A fault can store a dead letter twice more: its attempt to store it again, and the redelivery of the event.
  const copies = 1 + 2 * faultsAtBurial(chronicle, { maxAttempts, ackMs }, letters, runs).length
  const reasons = isPoison ? UNDECODABLE : GIVEN_UP
  const wrong: (string | false)[] = [
    letters.length > copies && `is in the dead letters ${letters.length} times`,
    !reasons.includes(reason) && `was dead-lettered for ${reason}`,
  ]
  // If two copies are replayed, it is unknown which attempt belongs to which copy.
  const life = copies > 1 ? { ...lifeBefore(chronicle, letter), from: 0 } : lifeBefore(chronicle, letter)
  const ofLife = runs.filter(({ startedAt }) => startedAt >= life.from && startedAt <= life.to)
  for (const handler of letter.handlers) {
    const attempts = ofLife.filter((run) => run.handler === handler).length
    const own = runs.filter((run) => run.handler === handler)
    const wasHandled = own.some(({ outcome }) => outcome === 'finished')
    wrong.push(
      attempts < maxAttempts - perhapsStarted(chronicle, letter, { ...life, from: life.from - takeoverMs }) &&
        `was dead-lettered by ${handler} after ${attempts} of ${maxAttempts} attempts`,
      wasHandled && !isExcused && `was handled by ${handler} and dead-lettered`,
    )
  }
  return wrong
    .filter((what) => what !== false)
    .map((what): Finding => ({ rule: 'attempts', message: `${event} of ${group} ${what}`, event }))
}

interface Span {
  readonly from: number
  readonly to: number
}

/** The time from the publish of an event, or its last replay, to its dead letter. */
function lifeBefore({ publications, replays }: Chronicle, { event, group, at }: DeadLetterFact): Span {
  const begins = replays
    .filter((it) => it.event === event && it.group === group && it.at <= at)
    .map((it) => it.at)
  // Times of different processes, and of dead letters, compare by whole milliseconds; see `now`.
  const from = Math.floor(Math.max(publications.get(event)?.publishedAt ?? 0, ...begins))
  return { from, to: at + 1 }
}

/**
 * Attempts that count although no handler ran. Each attempt is recorded before it starts, because otherwise a message that
 * kills its process would be redelivered for ever. A fault of the group or the broker between the two leaves it recorded.
 */
function perhapsStarted(
  { realFaults, processes }: Chronicle,
  { group }: DeadLetterFact,
  { from, to }: Span,
): number {
  const members = [...processes.values()].filter((life) => life.group === group).map(({ name }) => name)
  return realFaults.filter((fault) => hits(fault, ...members) && overlaps(fault, from, to)).length
}

/** Faults while the event was dead-lettered: the dead letter was stored, but the confirmation was lost. */
function faultsAtBurial(
  { realFaults, processes: lives, publications }: Chronicle,
  { maxAttempts, ackMs }: Pick<JudgeOptions, 'maxAttempts' | 'ackMs'>,
  letters: readonly DeadLetterFact[],
  runs: readonly Run[],
): readonly Fault[] {
  const members = [...lives.values()].filter(({ group }) => group === letters[0]?.group)
  // An event that cannot be decoded was in one of the processes of the group.
  const processes = (runs.length > 0 ? runs : members.map(({ name }) => ({ process: name }))).map(
    ({ process }) => process,
  )
  const published = runs.length > 0 ? undefined : publications.get(letters[0]?.event ?? '')
  const moments = [
    ...letters.map(({ at }) => at),
    // An event that cannot be decoded has no run: it is dead-lettered when it arrives.
    ...(published === undefined ? [] : [published.publishedAt]),
    ...runs
      .filter(({ attempt, outcome }) => attempt >= maxAttempts && outcome === 'failed')
      .map((run) => run.endedAt),
  ]
  return realFaults.filter(
    (fault) => hits(fault, ...processes) && moments.some((at) => overlaps(fault, at, at + ackMs)),
  )
}

/** The reason for which a message that cannot be decoded is dead-lettered. */
const UNDECODABLE: readonly string[] = ['deserialization_error']

/** The reasons for which a decodable message may be dead-lettered. */
const GIVEN_UP: readonly string[] = ['max_retries_exceeded', 'delivery_limit_exceeded']

function tooManyAttempts(
  chronicle: Chronicle,
  { maxAttempts, ackMs }: JudgeOptions,
  runs: readonly Run[],
): readonly Finding[] {
  const [first] = runs
  if (first === undefined) return []
  const { event, group, handler } = first
  const replays = chronicle.replays.filter((it) => it.event === event && it.group === group).length
  const unsuccessful = runs.filter(
    (run) => run.outcome !== 'finished' && !wasInterrupted(chronicle, run),
  ).length
  // A fault may hide one attempt from the broker. One that hides the dead letter restarts the attempts.
  const anew = faultsAtBurial(chronicle, { maxAttempts, ackMs }, [], runs)
  const hidden = faultsDuring(chronicle.realFaults, runs).filter((fault) => !anew.includes(fault))
  const allowed = maxAttempts * (1 + replays + anew.length) + hidden.length
  const findings: Finding[] = []
  const over = runs.find(({ attempt }) => attempt > maxAttempts)
  if (over)
    findings.push({ rule: 'attempts', message: `${handler} got attempt ${over.attempt} at ${event}`, event })
  if (unsuccessful > allowed) {
    const message = `${handler} of ${group} failed ${unsuccessful} times for ${event}, more than ${allowed} times`
    findings.push({ rule: 'attempts', message, event })
  }
  return findings
}

/** True if a planned stop interrupted the attempt, so that it does not count. */
function wasInterrupted({ faults }: Chronicle, { process, outcome, startedAt }: Run): boolean {
  return (
    outcome === 'open' &&
    faults.some((fault) => fault.isPlanned && hits(fault, process) && fault.endedAt >= startedAt)
  )
}

/** Faults that may have hidden an attempt from the broker. */
function faultsDuring(faults: readonly Fault[], runs: readonly Run[]): readonly Fault[] {
  const from = Math.min(...runs.map(({ startedAt }) => startedAt))
  const to = Math.max(...runs.map((run) => (run.endedAt === Infinity ? run.startedAt : run.endedAt)))
  const processes = runs.map(({ process }) => process)
  return faults.filter((fault) => hits(fault, ...processes) && overlaps(fault, from, to + 1000))
}

/** 7: every process that was not killed exits on its own, without an error. */
export const processesEnd: Rule = ({ processes }) =>
  [...processes.values()].flatMap(({ name, exitCode, wasKilled, output, stats }): readonly Finding[] => {
    if (wasKilled) return []
    if (exitCode === undefined) return [{ rule: 'conduct', message: `${name} did not exit on its own` }]
    if (exitCode !== 0) return [{ rule: 'conduct', message: `${name} ended with ${exitCode}: ${output}` }]
    if (stats === undefined)
      return [{ rule: 'conduct', message: `${name} ended before its shutdown: ${output}` }]
    return []
  })

function finishedRuns({ runs }: Chronicle): readonly Run[] {
  return runs.filter(({ outcome }) => outcome === 'finished')
}

function byHandler(runs: readonly Run[]): readonly (readonly Run[])[] {
  return [...Map.groupBy(runs, ({ group, handler, event }) => `${group} ${handler} ${event}`).values()]
}

function add(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key) ?? new Set()
  sets.set(key, set.add(value))
}
