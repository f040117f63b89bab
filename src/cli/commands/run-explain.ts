import type { BrowsedEvent } from '../../browsing/index.ts'
import type { EventExplanation, ExplainedGroup, SearchReport } from '../../bus/index.ts'
import { ageOf } from '../../filter-line/index.ts'
import { counted } from '../../kit/counted.ts'
import { EXIT, type ExitCode, NotFoundError } from '../exit-code.ts'
import { type Column, plain, tableOf } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { dataOf, type Invocation, openLogBus } from './run-events.ts'

const STATES: Readonly<Record<ExplainedGroup['state'], string>> = {
  waiting: 'waiting',
  inFlight: 'in flight',
  unsettled: 'waiting or in flight',
  retrying: 'retrying',
  settled: 'done',
  deadLetter: 'dead letter',
  unknown: 'unknown',
}

const GROUPS: readonly Column<ExplainedGroup>[] = [
  { heading: 'GROUP', cell: ({ group }) => group },
  { heading: 'STATE', cell: ({ state, isReplay }) => `${STATES[state]}${isReplay ? ', replayed' : ''}` },
  { heading: 'ATTEMPTS', cell: attemptsOf, align: 'right' },
  { heading: 'CONSUMER', cell: ({ consumer }) => consumer },
  { heading: 'DETAIL', cell: (group) => detailsOf(group).join('; ') || undefined },
]

const EVENTS: readonly Column<BrowsedEvent>[] = [
  { heading: 'CAUSED', cell: ({ eventType }) => eventType },
  { heading: 'AT', cell: ({ storedAt, occurredAt }) => (storedAt ?? occurredAt)?.toISOString() },
  { heading: 'AGGREGATE', cell: ({ aggregateId }) => aggregateId },
  { heading: 'ID', cell: ({ eventId }) => eventId },
]

export async function explainEvent(
  invocation: Invocation,
  id: string,
  { aggregateId, maxScanned }: { readonly aggregateId: string | undefined; readonly maxScanned: number },
): Promise<ExitCode> {
  const { options, terminal } = invocation
  await using bus = await openLogBus(invocation)
  const found = await bus.admin.explain(id, {
    maxScanned,
    ...(aggregateId !== undefined && { aggregateId }),
    signal: terminal.interrupted,
  })
  const { published, search, groups, deadLetters } = found
  const isKnown = published !== undefined || deadLetters.length > 0 || groups.some(isOpen)
  if (!isKnown) {
    throw new NotFoundError(`There is no trace of an event ${JSON.stringify(id)}: ${searched(search)}.`)
  }
  if (options.json) await terminal.out(JSON.stringify({ version: 1, ...jsonOf(found) }))
  else await print(found, terminal)
  return EXIT.done
}

const isOpen = ({ state }: ExplainedGroup) => state !== 'unknown' && state !== 'settled'

async function print(found: EventExplanation, terminal: Terminal): Promise<void> {
  const { published, search, groups, deadLetters, caused, causedSearch } = found
  if (published === undefined) terminal.err(`the event itself was not found: ${searched(search)}`)
  else for (const line of headOf(published)) await terminal.out(line)
  if (groups.length > 0) await terminal.out(tableOf(groups, GROUPS, terminal))
  const others = deadLetters.filter(({ consumerGroup }) => consumerGroup === undefined)
  if (others.length > 0)
    terminal.err(
      `${counted(others.length, 'dead letter names', 'dead letters name')} no group: eventspine dlq list`,
    )
  if (caused.length > 0) await terminal.out(tableOf(caused, EVENTS, terminal))
  if (causedSearch !== undefined) {
    terminal.err(
      `${counted(caused.length, 'event was', 'events were')} caused by it: ${searched(causedSearch)}`,
    )
  }
}

function headOf(event: BrowsedEvent): readonly string[] {
  const { eventType, aggregateType, aggregateId, storedAt, occurredAt, position, partition } = event
  const where = `${partition === undefined ? '' : `partition ${partition}, `}position ${position}`
  const rows = {
    event: `${eventType ?? '-'} of ${aggregateType ?? '-'} ${aggregateId ?? '-'}`,
    occurred: occurredAt?.toISOString(),
    published: storedAt === undefined ? where : `${storedAt.toISOString()}, ${ageOf(storedAt)} ago, ${where}`,
    correlation: event.correlationId,
    'caused by': event.causationId,
  }
  return Object.entries(rows).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name.padEnd(12)} ${plain(value)}`],
  )
}

function attemptsOf({ attempts, waits, deadLetters }: ExplainedGroup): number | undefined {
  const known = [attempts, ...waits.map((wait) => wait.attempts), ...deadLetters.map((one) => one.attempts)]
  const numbers = known.filter((one) => one !== undefined)
  return numbers.length === 0 ? undefined : Math.max(...numbers)
}

function detailsOf({ waits, deadLetters, settledHandlers, remark }: ExplainedGroup): readonly string[] {
  return [
    ...waits.map(({ handlerName, dueAt }) =>
      dueAt === undefined
        ? `${handlerName} waits behind an earlier event of the aggregate`
        : `${handlerName}: next attempt at ${dueAt.toISOString()}`,
    ),
    ...deadLetters.map(({ id, handlerNames = [], errorName = '', errorMessage = '', ...letter }) => {
      const since = letter.firstFailedAt === undefined ? '' : ` since ${letter.firstFailedAt.toISOString()}`
      const replays = letter.replayCount === 0 ? '' : `, replayed ${counted(letter.replayCount, 'time')}`
      return `${handlerNames.join(', ') || 'no handler'}: ${errorName}: ${errorMessage}${since}${replays}, dead letter ${id}`
    }),
    ...(settledHandlers.length === 0 ? [] : [`succeeded: ${settledHandlers.join(', ')}`]),
    ...(remark === undefined ? [] : [remark]),
  ]
}

/** How far a search went, and why it ended. */
export function searched({ scanned, total, ended, remark }: SearchReport): string {
  if (remark !== undefined) return remark.replace(/\.$/, '')
  const all = total === undefined || total < scanned ? '' : ` of ${total}`
  const more = ended === 'maxScanned' ? ', the limit of --max-scanned' : ''
  return `events read: ${scanned}${all}${more}`
}

function jsonOf({ published, groups, deadLetters, caused, ...others }: EventExplanation) {
  return {
    ...others,
    published: published && dataOf(published),
    groups: groups.map(({ deadLetters: letters, ...group }) => ({
      ...group,
      deadLetters: letters.map(letterOf),
    })),
    deadLetters: deadLetters.map(letterOf),
    caused: caused.map(dataOf),
  }
}

/** `dlq show` prints the message. */
function letterOf({
  event: _event,
  body: _body,
  headers: _headers,
  ...letter
}: EventExplanation['deadLetters'][number]) {
  return letter
}
