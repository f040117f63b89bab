import type { Finding, Rule } from './judge.ts'
import { CANARY } from './secret-watch.ts'

/** 7: no handle stays open, no error is unhandled, nothing shows the password, and the broker has no unsettled message. */
export const nothingLeftBehind: Rule = ({ processes, unhandled, leaks, brokerEnds }) => {
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
  for (const { process, what, error } of unhandled)
    findings.push(`${process}: ${what} without a handler: ${error}`)
  for (const { process, what } of leaks) findings.push(`${process}: the password is in the ${what}`)
  for (const { name, output } of processes.values())
    if (output.includes(CANARY)) findings.push(`${name}: the password is in the output`)
  for (const { group, unsettled, detail } of brokerEnds) {
    if (unsettled > 0)
      findings.push(`the broker still has ${unsettled} unsettled messages of ${group}: ${detail}`)
  }
  return findings.map((message): Finding => ({ rule: 'conduct', message }))
}
