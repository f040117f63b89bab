import type { Finding } from '../../src/verify/rules.ts'
import { CANARY } from './secret-watch.ts'
import type { TortureRule } from './torture-rules.ts'

/** 7: no handle stays open, and nothing shows the password. */
export const nothingLeftBehind: TortureRule = ({ processes, leaks }) => {
  const findings: string[] = []
  for (const { name, stats } of processes.values()) {
    if (stats === undefined) continue
    const { handlesBefore, handlesAfter } = stats
    const more = Object.entries(handlesAfter).filter(([kind, count]) => count > (handlesBefore[kind] ?? 0))
    for (const [kind, count] of more) {
      findings.push(
        `${name}: ${count} of ${kind} open after the shutdown, and ${handlesBefore[kind] ?? 0} before`,
      )
    }
  }
  for (const { process, what } of leaks) findings.push(`${process}: the password is in the ${what}`)
  for (const { name, output } of processes.values())
    if (output.includes(CANARY)) findings.push(`${name}: the password is in the output`)
  return findings.map((message): Finding => ({ rule: 'conduct', message }))
}
