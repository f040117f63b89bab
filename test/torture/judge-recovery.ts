import { type Chronicle, type Fault, overlaps, type ProcessLife } from '../../src/verify/chronicle.ts'
import type { Finding } from '../../src/verify/rules.ts'
import type { TortureRule, TortureRules } from './torture-rules.ts'

/** The recovery time after a fault. */
export interface Recovery {
  readonly fault: string
  /** The group that handled again, or `producers`. */
  readonly who: string
  /** Undefined if another fault came in between, or the load had ended. */
  readonly ms: number | undefined
  /** How long the processes were starved of CPU in that time. */
  readonly lateMs: number
}

/** 6: after a fault, groups and producers recover on their own, in time. */
export const recoveredInTime: TortureRule = (chronicle, options) => {
  const late = recoveries(chronicle, options)
    .filter(({ ms, lateMs }) => ms !== undefined && ms > options.recoveryMs + lateMs)
    .map(({ fault, who, ms }): Finding => {
      const message =
        ms === Infinity ? `${who} never recovered after ${fault}` : `${who} recovered ${ms} ms after ${fault}`
      return { rule: 'recovery', message }
    })
  const lives = [...chronicle.processes.values()].filter(({ group }) => group !== undefined)
  return [...late, ...lives.flatMap((life) => silence(chronicle, options, life))]
}

/** The recovery time of each group and of the producers after each fault of the broker. */
export function recoveries(chronicle: Chronicle, options: TortureRules): readonly Recovery[] {
  const confirmations = [...chronicle.publications.values()]
    .filter(({ outcome }) => outcome === 'confirmed')
    .map(({ settledAt }) => settledAt)
    .toSorted((a, b) => a - b)
  const members = options.groups.map(({ name }) => ({
    who: name,
    isMember: (process: string) => chronicle.processes.get(process)?.group === name,
    times: chronicle.runs.filter(({ group }) => group === name).map(({ startedAt }) => startedAt),
  }))
  const isProducer = (process: string) => chronicle.processes.get(process)?.group === undefined
  const faults = chronicle.realFaults.filter(({ targets }) => targets.includes('*'))
  return faults.flatMap((fault) =>
    [...members, { who: 'producers', isMember: isProducer, times: confirmations }].map(
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
  { recoveryMs }: TortureRules,
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

/** Under load, a running consumer handles an event at least every `silenceMs`. */
function silence(chronicle: Chronicle, { silenceMs }: TortureRules, life: ProcessLife): readonly Finding[] {
  const confirmations = [...chronicle.publications.values()].filter(({ outcome }) => outcome === 'confirmed')
  const from = Math.max(life.consumingAt, Math.min(...confirmations.map(({ settledAt }) => settledAt)))
  const to = Math.min(life.endedAt, Math.max(...confirmations.map(({ publishedAt }) => publishedAt)))
  const starts = chronicle.runs
    .filter(({ process, startedAt }) => process === life.name && startedAt > from && startedAt < to)
    .map(({ startedAt }) => startedAt)
  const marks = [from, ...starts, to]
  return marks.flatMap((mark, index): readonly Finding[] => {
    const next = marks[index + 1] ?? mark
    // A long history has many of these pairs, and what extends the limit is a search.
    if (next - mark <= silenceMs) return []
    const lateMs = chronicle.lateness((process) => process === life.name, mark, next)
    const allowed = silenceMs + lateMs + allowance(chronicle.faults, silenceMs, mark, next)
    if (next - mark <= allowed) return []
    const message = `${life.name} handled nothing for ${Math.round(next - mark)} ms, more than ${Math.round(allowed)} ms`
    return [{ rule: 'recovery', message }]
  })
}

function allowance(faults: readonly Fault[], silenceMs: number, from: number, to: number): number {
  return faults
    .filter((fault) => overlaps(fault, from, to))
    .reduce(
      (sum, { startedAt, endedAt }) => sum + silenceMs + Math.min(endedAt, to) - Math.max(startedAt, from),
      0,
    )
}
