import { type Chronicle, type Fault, overlaps, type ProcessLife } from './chronicle.ts'
import type { Finding, JudgeOptions, Rule } from './judge.ts'

/** How long it took after a fault. */
export interface Recovery {
  readonly fault: string
  /** A group that handled again, or `producers`. */
  readonly who: string
  /** Undefined when something else came between, or the load had ended. */
  readonly ms: number | undefined
  /** So much of it the processes did not get their turns. */
  readonly lateMs: number
}

/** 6: after a fault things go on by themselves, in time. */
export const recoveredInTime: Rule = (chronicle, options) => {
  const late = recoveries(chronicle, options)
    .filter(({ ms, lateMs }) => ms !== undefined && ms > options.recoveryMs + lateMs)
    .map(({ fault, who, ms }): Finding => {
      const message = `${who} went on ${ms === Infinity ? 'never' : `${ms} ms`} after ${fault}`
      return { rule: 'recovery', message }
    })
  const lives = [...chronicle.processes.values()].filter(({ group }) => group !== undefined)
  return [...late, ...lives.flatMap((life) => silence(chronicle, options, life)), ...hangs(chronicle)]
}

/** How long each group and the producers needed after each fault of the broker. */
export function recoveries(chronicle: Chronicle, options: JudgeOptions): readonly Recovery[] {
  const confirmations = [...chronicle.publications.values()]
    .filter(({ outcome }) => outcome === 'confirmed')
    .map(({ settledAt }) => settledAt)
    .toSorted((a, b) => a - b)
  const begun = options.groups.map(({ name }) => ({
    who: name,
    isMember: (process: string) => chronicle.processes.get(process)?.group === name,
    times: chronicle.runs.filter(({ group }) => group === name).map(({ startedAt }) => startedAt),
  }))
  const isProducer = (process: string) => chronicle.processes.get(process)?.group === undefined
  const faults = chronicle.realFaults.filter(({ targets }) => targets.includes('*'))
  return faults.flatMap((fault) =>
    [...begun, { who: 'producers', isMember: isProducer, times: confirmations }].map(
      ({ who, isMember, times }) => ({
        fault: fault.name,
        who,
        ms: recoveryTime(chronicle, options, fault, times),
        lateMs: chronicle.lateness(isMember, fault.endedAt, fault.endedAt + options.recoveryMs),
      }),
    ),
  )
}

function recoveryTime(
  { faults, publications }: Chronicle,
  { recoveryMs }: JudgeOptions,
  fault: Fault,
  times: readonly number[],
): number | undefined {
  const { endedAt } = fault
  const loadEnd = Math.max(...[...publications.values()].map(({ publishedAt }) => publishedAt))
  const next = times.find((time) => time >= endedAt)
  const ms = next === undefined ? Infinity : Math.round(next - endedAt)
  if (ms <= recoveryMs) return ms
  const isDisturbed = faults.some(
    (other) => other !== fault && overlaps(other, endedAt, endedAt + recoveryMs),
  )
  return isDisturbed || loadEnd < endedAt + recoveryMs ? undefined : ms
}

/** A living consumer handles something now and then, as long as there is load. */
function silence(chronicle: Chronicle, { silenceMs }: JudgeOptions, life: ProcessLife): readonly Finding[] {
  const confirmations = [...chronicle.publications.values()].filter(({ outcome }) => outcome === 'confirmed')
  const from = Math.max(life.consumingAt, Math.min(...confirmations.map(({ settledAt }) => settledAt)))
  const to = Math.min(life.endedAt, Math.max(...confirmations.map(({ publishedAt }) => publishedAt)))
  const starts = chronicle.runs
    .filter(({ process, startedAt }) => process === life.name && startedAt > from && startedAt < to)
    .map(({ startedAt }) => startedAt)
  const marks = [from, ...starts, to]
  return marks.flatMap((mark, index): readonly Finding[] => {
    const next = marks[index + 1] ?? mark
    const lateMs = chronicle.lateness((process) => process === life.name, mark, next)
    const allowed = silenceMs + lateMs + allowance(chronicle.faults, silenceMs, mark, next)
    if (next - mark <= allowed) return []
    const message = `${life.name} handled nothing for ${Math.round(next - mark)} ms, and may for ${Math.round(allowed)} ms`
    return [{ rule: 'recovery', message }]
  })
}

function allowance(faults: readonly Fault[], silenceMs: number, from: number, to: number): number {
  return faults
    .filter((fault) => overlaps(fault, from, to))
    .reduce(
      (sum, { beganAt, endedAt }) => sum + silenceMs + Math.min(endedAt, to) - Math.max(beganAt, from),
      0,
    )
}

/** A publish is answered, unless its process was killed. */
function hangs({ publications, processes }: Chronicle): readonly Finding[] {
  return [...publications.values()]
    .filter(({ outcome, process }) => outcome === 'open' && processes.get(process)?.wasKilled !== true)
    .map(({ event }) => ({ rule: 'recovery', message: `the publish of ${event} was never answered`, event }))
}
