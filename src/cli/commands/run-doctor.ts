import { styleText } from 'node:util'
import type { Finding } from '../../bus/index.ts'
import { counted } from '../../kit/counted.ts'
import { EXIT, type ExitCode } from '../exit-code.ts'
import { type ListFormat, printList } from '../list-format.ts'
import { createQuietBus } from '../open-bus.ts'
import { plain } from '../table.ts'
import type { GivenBus } from '../target.ts'
import type { Terminal } from '../terminal.ts'

const COLORS = { ok: 'green', warning: 'yellow', fault: 'red', unknown: 'dim' } as const

/** Prints each finding as it comes, a problem with its remedy. */
export async function runDoctor(
  target: GivenBus,
  settings: { readonly group: string | undefined; readonly format: ListFormat; readonly terminal: Terminal },
): Promise<ExitCode> {
  const { group, format, terminal } = settings
  const options = { ...target.options, ...(group !== undefined && { consumerGroup: group }) }
  await using bus = createQuietBus({ ...target, options })
  const findings: Finding[] = []
  for await (const found of bus.admin.diagnose()) {
    const finding = { ...found, remedy: complete(found.remedy, target) }
    findings.push(finding)
    if (format === 'table') await terminal.out(lineOf(finding, terminal))
  }
  if (format !== 'table') await printList(terminal, format, { name: 'findings', items: findings })
  const problems = findings.filter(isProblem)
  const open = findings.filter(({ level }) => level === 'unknown').length
  terminal.err(
    `${counted(findings.length, 'check')}, ${problems.length} with problems, ${open} could not be made`,
  )
  if (problems.length === 0) return EXIT.done
  return problems.some(({ check }) => check === 'connection') ? EXIT.unreachable : EXIT.checkFailed
}

/** Names the bus in the commands of a remedy, which end it. */
function complete(remedy: string | undefined, { words, shownUrl }: GivenBus): string | undefined {
  const isOurs = remedy !== undefined && /\beventspine [a-z]/.test(remedy)
  const whole = isOurs ? [remedy, ...words].join(' ') : remedy
  return whole?.replaceAll(' <url> ', ` ${shownUrl} `)
}

const isProblem = ({ level }: Finding) => level === 'fault' || level === 'warning'

function lineOf({ check, level, text, remedy }: Finding, { hasColor }: Terminal): string {
  const word = level.padEnd(7)
  const shown = hasColor ? styleText(COLORS[level], word, { validateStream: false }) : word
  const what = [text, ...(remedy === undefined ? [] : [`→ ${remedy}`])].filter((part) => part !== '')
  return [shown, check.padEnd(20), plain(what.join(' '))].join('  ').trimEnd()
}
