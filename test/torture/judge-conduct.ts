import { type Chronicle, type Fault, hits, overlaps, type Run } from './chronicle.ts'
import type { DeadLetterFact } from './history.ts'
import type { Finding, JudgeOptions, Rule } from './judge.ts'

/** 4: a second success only for what a fault caught in flight, and no more than a process had in hand. */
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
    const message = `${events.size} events were handled twice after ${cause}, and ${options.maxInFlight} could be in flight`
    findings.push(
      event === undefined ? { rule: 'duplicate', message } : { rule: 'duplicate', message, event },
    )
  }
  return findings
}

/** The faults that caught the first run between its start and its acknowledgment. */
function causesOf(
  { realFaults }: Chronicle,
  { ackMs }: JudgeOptions,
  first: Run,
  second: Run,
): readonly Fault[] {
  return realFaults.filter(
    (fault) =>
      hits(fault, first.process, second.process) && overlaps(fault, first.startedAt, first.endedAt + ackMs),
  )
}

function twice(first: Run, second: Run): Finding {
  const { event, handler, group } = second
  const message = `${handler} of ${group} handled ${event} twice without a fault (${first.process}, then ${second.process})`
  return { rule: 'duplicate', message, event }
}

/** 5: attempts within the policy, and each failure ends in success or exactly one dead letter. */
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
  { maxAttempts, countsPerhapsBegun }: JudgeOptions,
  letters: readonly DeadLetterFact[],
  runs: readonly Run[],
): readonly Finding[] {
  const [letter] = letters
  if (letter === undefined) return []
  const { event, group, reason } = letter
  const isExcused = faultsDuring(chronicle.realFaults, runs).length > 0
  const wrong: (string | false)[] = [
    letters.length > 1 && !isExcused && `lies in the dead letters ${letters.length} times`,
    !GIVEN_UP.includes(reason) && `was dead-lettered for ${reason}`,
  ]
  const perhapsBegun = countsPerhapsBegun && chronicle.realFaults.some(({ beganAt }) => beganAt <= letter.at)
  const leastAttempts = perhapsBegun ? maxAttempts - 1 : maxAttempts
  for (const handler of letter.handlers) {
    const own = runs.filter((run) => run.handler === handler)
    const wasHandled = own.some(({ outcome }) => outcome === 'finished')
    wrong.push(
      own.length < leastAttempts &&
        `was given up by ${handler} after ${own.length} of ${maxAttempts} attempts`,
      wasHandled && !isExcused && `was handled by ${handler} and dead-lettered`,
    )
  }
  return wrong
    .filter((what) => what !== false)
    .map((what): Finding => ({ rule: 'attempts', message: `${event} of ${group} ${what}`, event }))
}

/** The reasons for which a message that can be read may be given up. */
const GIVEN_UP: readonly string[] = ['max_retries_exceeded', 'delivery_limit_exceeded']

function tooManyAttempts(
  chronicle: Chronicle,
  { maxAttempts }: JudgeOptions,
  runs: readonly Run[],
): readonly Finding[] {
  const [first] = runs
  if (first === undefined) return []
  const { event, group, handler } = first
  const replays = chronicle.replays.filter((it) => it.event === event && it.group === group).length
  const unsuccessful = runs.filter(({ outcome }) => outcome !== 'finished').length
  // A stop gives back the attempt that it interrupts, and the broker cannot tell it from one that waits for the next.
  const allowed = maxAttempts * (1 + replays) + faultsDuring(chronicle.faults, runs).length
  const findings: Finding[] = []
  const over = runs.find(({ attempt }) => attempt > maxAttempts)
  if (over)
    findings.push({ rule: 'attempts', message: `${handler} got attempt ${over.attempt} at ${event}`, event })
  if (unsuccessful > allowed) {
    const message = `${handler} of ${group} failed ${unsuccessful} times at ${event}, and may ${allowed} times`
    findings.push({ rule: 'attempts', message, event })
  }
  return findings
}

/** Faults that may have hidden an attempt from the broker. */
function faultsDuring(faults: readonly Fault[], runs: readonly Run[]): readonly Fault[] {
  const from = Math.min(...runs.map(({ startedAt }) => startedAt))
  const to = Math.max(...runs.map((run) => (run.endedAt === Infinity ? run.startedAt : run.endedAt)))
  const processes = runs.map(({ process }) => process)
  return faults.filter((fault) => hits(fault, ...processes) && overlaps(fault, from, to + 1000))
}

/** 7: what a process counted is what it did. */
export const countersAgree: Rule = (
  { processes, runs, publications, realFaults },
  { groups, heapGrowthBytes },
) =>
  [...processes.values()].flatMap(({ name, group, stats: fact }) => {
    if (fact === undefined) return []
    const { stats, heapBefore, heapAfter } = fact
    const own = runs.filter(({ process }) => process === name)
    const failed = own.filter(({ outcome }) => outcome === 'failed').length
    const finished = own.filter(({ outcome }) => outcome === 'finished').length
    const confirmed = [...publications.values()].filter(
      (it) => it.process === name && it.outcome === 'confirmed',
    )
    const isAlone = groups.find((it) => it.name === group)?.handlers.length === 1
    const settled = stats.eventsProcessedSuccess + stats.eventsProcessedFailed
    const wasHit = realFaults.some((fault) => hits(fault, name))
    const wrong: (string | false)[] = [
      stats.handlerErrors !== failed && `handlerErrors ${stats.handlerErrors}, and ${failed} runs failed`,
      stats.eventsPublished !== confirmed.length &&
        `eventsPublished ${stats.eventsPublished}, and ${confirmed.length} were confirmed`,
      stats.inFlight !== 0 && `inFlight ${stats.inFlight} after the shutdown`,
      stats.eventsConsumed !== settled &&
        `eventsConsumed ${stats.eventsConsumed}, and ${settled} are settled`,
      isAlone &&
        !wasHit &&
        stats.eventsProcessedSuccess !== finished &&
        `eventsProcessedSuccess ${stats.eventsProcessedSuccess}, and ${finished} runs finished`,
      heapAfter - heapBefore > heapGrowthBytes && `memory grew by ${heapAfter - heapBefore} bytes`,
    ]
    return wrong
      .filter((what) => what !== false)
      .map((what): Finding => ({ rule: 'conduct', message: `${name}: ${what}` }))
  })

/** 7: every process that was not killed ends by itself, well. */
export const processesEnd: Rule = ({ processes }) =>
  [...processes.values()].flatMap(({ name, exitCode, wasKilled, output, stats }): readonly Finding[] => {
    if (wasKilled) return []
    if (exitCode === undefined) return [{ rule: 'conduct', message: `${name} did not end by itself` }]
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
