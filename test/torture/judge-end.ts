import type { Finding, Rule } from './judge.ts'

/** 7: no handle stays open, no error is unhandled, and the broker has no unsettled message. */
export const nothingLeftBehind: Rule = ({ processes, unhandled, brokerEnds }) => {
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
  for (const { group, unsettled, detail } of brokerEnds) {
    if (unsettled > 0)
      findings.push(`the broker still has ${unsettled} unsettled messages of ${group}: ${detail}`)
  }
  return findings.map((message): Finding => ({ rule: 'conduct', message }))
}
