import type { DeadLetter, DeadLetterFilter, DeadLetterGroup, SummaryKey } from '../../bus/index.ts'
import { ageOf } from '../../filter-line/index.ts'
import { counted } from '../../kit/counted.ts'
import { bodyText, shownLetter } from '../body-text.ts'
import { EXIT, type ExitCode, NotFoundError } from '../exit-code.ts'
import { type ListFormat, printList } from '../list-format.ts'
import { type Column, plain, tableOf } from '../table.ts'
import { placeOf } from '../target.ts'
import type { Terminal } from '../terminal.ts'
import { lettersOf, type OpenDlq } from './context.ts'

const ago = (at: Date | undefined) => (at === undefined ? undefined : `${ageOf(at)} ago`)

const LETTERS: readonly Column<DeadLetter>[] = [
  { heading: 'FAILED', cell: ({ lastFailedAt }) => ago(lastFailedAt), align: 'right' },
  { heading: 'GROUP', cell: ({ consumerGroup }) => consumerGroup },
  { heading: 'TYPE', cell: ({ eventType }) => eventType },
  { heading: 'AGGREGATE', cell: ({ aggregateId }) => aggregateId },
  { heading: 'HANDLERS', cell: ({ handlerNames }) => handlerNames?.join(', ') },
  { heading: 'REPLAYS', cell: ({ replayCount }) => replayCount, align: 'right' },
  { heading: 'ID', cell: ({ id }) => id },
  { heading: 'ERROR', cell: ({ errorName, errorMessage }) => `${errorName ?? ''}: ${errorMessage ?? ''}` },
]

const GROUPS: readonly Column<DeadLetterGroup>[] = [
  { heading: 'LETTERS', cell: ({ count }) => count, align: 'right' },
  { heading: 'FIRST', cell: ({ firstAt }) => ago(firstAt), align: 'right' },
  { heading: 'LAST', cell: ({ lastAt }) => ago(lastAt), align: 'right' },
  { heading: 'KEY', cell: ({ key }) => key },
]

export interface ListSettings {
  readonly filter: DeadLetterFilter
  readonly order: 'oldest' | 'newest'
  readonly limit: number
  readonly cursor: string | undefined
  readonly format: ListFormat
  readonly terminal: Terminal
}

export async function listLetters({ bus, target }: OpenDlq, settings: ListSettings): Promise<ExitCode> {
  const { filter, order, limit, cursor, format, terminal } = settings
  const page = await bus.deadLetters.list({ filter, order, limit, ...(cursor !== undefined && { cursor }) })
  const letters = page.deadLetters.map(shownLetter)
  const { cursor: next } = page
  if (format !== 'table') {
    const items = letters.map(dataOf)
    await printList(terminal, format, { name: 'deadLetters', items, others: { cursor: next } })
    if (format === 'json') return EXIT.done
  } else if (letters.length > 0) await terminal.out(tableOf(letters, LETTERS, terminal))
  const isFiltered = Object.keys(filter).length > 0
  if (letters.length === 0) {
    const all = isFiltered ? await bus.deadLetters.count() : 0
    terminal.err(all === 0 ? `no dead letter waits ${placeOf(target)}` : `none of ${lettersOf(all)} matches`)
  } else {
    const all = next === undefined || isFiltered ? '' : ` of ${await bus.deadLetters.count()}`
    terminal.err(`${letters.length}${all} shown`)
  }
  if (next !== undefined) terminal.err(`the next page: --cursor '${plain(next)}'`)
  return EXIT.done
}

export async function showLetter(
  { bus, target }: OpenDlq,
  { id, isJson, terminal }: { readonly id: string; readonly isJson: boolean; readonly terminal: Terminal },
): Promise<ExitCode> {
  const found = await bus.deadLetters.get(id)
  if (found === undefined) throw noLetter(id)
  const letter = shownLetter(found)
  if (isJson) {
    await terminal.out(JSON.stringify({ version: 1, ...dataOf(letter), body: bodyText(letter.body) }))
    return EXIT.done
  }
  const { body, headers, ...fields } = { ...dataOf(letter), body: bodyText(letter.body) }
  for (const [name, value] of Object.entries({ ...fields, headers: JSON.stringify(headers) })) {
    const shown = value instanceof Date ? value.toISOString() : value
    if (shown !== undefined) await terminal.out(`${name.padEnd(16)} ${plain(String(shown))}`)
  }
  await terminal.out(`${'body'.padEnd(16)} ${plain(body)}`)
  for (const line of letter.errorStack?.split('\n') ?? []) await terminal.out(plain(line))
  terminal.err(`once its cause is fixed: ${['eventspine dlq replay', plain(id), ...target.words].join(' ')}`)
  return EXIT.done
}

export async function summarize(
  { bus }: OpenDlq,
  settings: {
    readonly by: SummaryKey
    readonly filter: DeadLetterFilter
    readonly maxScanned: number
    readonly format: ListFormat
    readonly terminal: Terminal
  },
): Promise<ExitCode> {
  const { by, filter, maxScanned, format, terminal } = settings
  const summary = await bus.deadLetters.summary({ by, filter, maxScanned, signal: terminal.interrupted })
  const { groups, ...others } = summary
  if (format !== 'table')
    await printList(terminal, format, { name: 'groups', items: groups, others: { by, ...others } })
  else if (summary.groups.length > 0) await terminal.out(tableOf(summary.groups, GROUPS, terminal))
  const window = summary.isComplete ? `all ${summary.scanned}` : `the oldest ${summary.scanned}`
  terminal.err(
    `${counted(summary.matched, 'dead letter matches', 'dead letters match')}, of ${window} that were read`,
  )
  return EXIT.done
}

export const noLetter = (id: string) =>
  new NotFoundError(
    `There is no dead letter ${JSON.stringify(id)}: eventspine dlq list shows those that are there.`,
  )

function dataOf(letter: DeadLetter) {
  const { event: _event, body: _body, errorStack: _stack, ...data } = letter
  return data
}
