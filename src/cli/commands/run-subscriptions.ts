import { ageOf } from '../../filter-line/index.ts'
import { counted } from '../../kit/counted.ts'
import { nearest } from '../../kit/spelling.ts'
import { EXIT, type ExitCode, NotFoundError } from '../exit-code.ts'
import { type ListFormat, printList } from '../list-format.ts'
import { type OpenStores, openExistingStores } from '../open-stores.ts'
import { type Column, tableOf } from '../table.ts'
import type { StoreTarget } from '../target.ts'
import type { Terminal } from '../terminal.ts'

interface SubscriptionLine {
  readonly name: string
  readonly position: number
  /** Positions behind the end of the feed. Some may be of events that the subscription does not handle. */
  readonly lag: number
  readonly savedAt: Date
  readonly parked: number
}

const COLUMNS: readonly Column<SubscriptionLine>[] = [
  { heading: 'SUBSCRIPTION', cell: ({ name }) => name },
  { heading: 'POSITION', cell: ({ position }) => position, align: 'right' },
  { heading: 'BEHIND', cell: ({ lag }) => lag, align: 'right' },
  { heading: 'SAVED', cell: ({ savedAt }) => `${ageOf(savedAt)} ago`, align: 'right' },
  { heading: 'PARKED', cell: ({ parked }) => parked, align: 'right' },
]

export interface SubscriptionsSettings {
  readonly target: StoreTarget
  readonly name: string | undefined
  readonly maxLag: number | undefined
  readonly format: ListFormat
  readonly terminal: Terminal
}

export async function listSubscriptions(settings: SubscriptionsSettings): Promise<ExitCode> {
  const { target, name, maxLag = Number.POSITIVE_INFINITY, format, terminal } = settings
  const stores = await openExistingStores(target, terminal)
  try {
    const end = await stores.events.headPosition()
    const lines = withName(await linesOf(stores, end), name)
    if (format !== 'table')
      await printList(terminal, format, { name: 'subscriptions', items: lines, others: { end } })
    else if (lines.length === 0) terminal.err('no subscription has saved a position')
    else await terminal.out(tableOf(lines, COLUMNS, terminal))
    const late = lines.filter(({ lag }) => lag > maxLag)
    for (const { name: one, lag } of late)
      terminal.err(`${one} is ${counted(lag, 'position')} behind, the limit is ${maxLag}`)
    return late.length === 0 ? EXIT.done : EXIT.checkFailed
  } finally {
    await stores.close()
  }
}

async function linesOf(stores: OpenStores, end: number): Promise<readonly SubscriptionLine[]> {
  const parked = await stores.deadLetters.counts()
  return (await stores.checkpoints.list()).map(({ name, position, savedAt }) => ({
    ...{ name, position, savedAt },
    lag: Math.max(0, end - position),
    parked: parked.get(name) ?? 0,
  }))
}

function withName(lines: readonly SubscriptionLine[], name: string | undefined): readonly SubscriptionLine[] {
  if (name === undefined) return lines
  const found = lines.filter((line) => line.name === name)
  if (found.length > 0) return found
  const hint = nearest(
    name,
    lines.map((line) => line.name),
  )
  const remedy =
    hint === undefined ? 'eventspine subscriptions lists those that have' : `did you mean ${hint}?`
  throw new NotFoundError(`No subscription ${JSON.stringify(name)} has saved a position: ${remedy}`)
}
