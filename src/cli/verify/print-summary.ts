import { counted } from '../../kit/counted.ts'
import { report } from '../../verify/judge.ts'
import type { Summary } from '../../verify/summary.ts'
import { plain } from '../table.ts'
import type { Terminal } from '../terminal.ts'

/** Prints the result of a run. */
export async function printSummary(
  summary: Summary,
  {
    seed,
    isJson,
    terminal,
  }: { readonly seed: number; readonly isJson: boolean; readonly terminal: Terminal },
): Promise<void> {
  if (isJson) return terminal.out(JSON.stringify({ version: 1, seed, ...summary }))
  const { confirmed, handled, deadLettered, faults, lost, waiting, reordered, duplicates, violations } =
    summary
  terminal.err(
    [
      counted(confirmed, 'event'),
      counted(handled, 'run of handlers', 'runs of handlers'),
      counted(deadLettered, 'dead letter'),
      counted(faults.length, 'fault'),
    ].join(', '),
  )
  const left = waiting === 0 ? [] : [`${waiting} still waiting`]
  await terminal.out(
    [
      `${lost} lost`,
      ...left,
      `${reordered} reordered`,
      counted(duplicates, 'duplicate'),
      stallIn(summary),
    ].join(', '),
  )
  if (violations.length === 0) return
  await terminal.out(report(violations).split('\n').map(plain).join('\n'))
  terminal.err(`${counted(violations.length, 'violation')}; --seed ${seed} repeats the events and faults`)
}

function stallIn({ longestStall }: Summary): string {
  if (longestStall === undefined) return 'no stall'
  const { ms, faults } = longestStall
  const during =
    faults.length === 0 ? '' : ` (during ${faults.map((name) => name.replace(/^\d+ /, '')).join(', ')})`
  return `longest stall ${(ms / 1000).toFixed(1)} s${during}`
}
