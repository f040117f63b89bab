import { ageOf } from '../../filter-line/index.ts'
import { counted } from '../../kit/counted.ts'
import type { GroupInfo, GroupPartition } from '../../transport/index.ts'
import { confirmed } from '../confirm.ts'
import { EXIT, type ExitCode } from '../exit-code.ts'
import { type ListFormat, printList } from '../list-format.ts'
import { openBus } from '../open-bus.ts'
import { type Column, tableOf } from '../table.ts'
import { type BusTarget, placeOf } from '../target.ts'
import type { Terminal } from '../terminal.ts'
import type { ControlSettings } from './run-control.ts'

interface Limits {
  readonly maxLag: number | undefined
  readonly maxDeadLetters: number | undefined
}

type Load = Pick<GroupInfo, 'lag' | 'inFlight' | 'oldestUnsettledAt'>

const LOAD: readonly Column<Load>[] = [
  { heading: 'LAG', cell: ({ lag }) => lag, align: 'right' },
  { heading: 'IN FLIGHT', cell: ({ inFlight }) => inFlight, align: 'right' },
  {
    heading: 'OLDEST',
    cell: ({ oldestUnsettledAt: at }) => (at === undefined ? undefined : ageOf(at)),
    align: 'right',
  },
]

const GROUPS: readonly Column<GroupInfo>[] = [
  { heading: 'GROUP', cell: ({ name }) => name },
  ...LOAD,
  { heading: 'WAITING', cell: ({ retriesWaiting }) => retriesWaiting, align: 'right' },
  { heading: 'DEAD LETTERS', cell: ({ deadLetters }) => deadLetters, align: 'right' },
  { heading: 'MEMBERS', cell: ({ members }) => members, align: 'right' },
  {
    heading: 'PAUSED',
    cell: ({ paused }) => (paused === undefined ? undefined : `${ageOf(paused.at)} by ${paused.by}`),
  },
]

const PARTITIONS: readonly Column<GroupPartition>[] = [
  { heading: 'PARTITION', cell: ({ partition }) => partition, align: 'right' },
  ...LOAD,
  { heading: 'CONSUMER', cell: ({ consumer }) => consumer },
]

/** @returns `EXIT.checkFailed` if a group exceeds a limit. */
export async function listGroups(
  target: BusTarget,
  settings: {
    /** Undefined for all groups. */
    readonly name: string | undefined
    readonly limits: Limits
    readonly format: ListFormat
    readonly terminal: Terminal
  },
): Promise<ExitCode> {
  const { name, limits, format, terminal } = settings
  await using bus = await openBus(target)
  const groups = name === undefined ? await bus.admin.groups() : [await bus.admin.group(name)]
  if (format !== 'table') await printList(terminal, format, { name: 'groups', items: groups })
  else if (groups.length === 0) terminal.err(`no group has consumed ${placeOf(target)}`)
  else await terminal.out(tableOf(groups, GROUPS, terminal))
  const partitions = name === undefined ? [] : groups.flatMap((group) => group.partitions)
  if (format === 'table' && partitions.length > 0)
    await terminal.out(tableOf(partitions, PARTITIONS, terminal))
  const faults = groups.flatMap((group) => excesses(group, limits))
  for (const fault of faults) terminal.err(fault)
  return faults.length === 0 ? EXIT.done : EXIT.checkFailed
}

function excesses({ name, lag = 0, deadLetters }: GroupInfo, limits: Limits): readonly string[] {
  const { maxLag = Number.POSITIVE_INFINITY, maxDeadLetters = Number.POSITIVE_INFINITY } = limits
  return [
    ...(lag > maxLag ? [`the lag of ${name} is ${lag}, the limit is ${maxLag}`] : []),
    ...(deadLetters > maxDeadLetters
      ? [`${name} has ${counted(deadLetters, 'dead letter')}, the limit is ${maxDeadLetters}`]
      : []),
  ]
}

export async function deleteGroup(target: BusTarget, settings: ControlSettings): Promise<ExitCode> {
  const { name, by, reason, isJson, terminal } = settings
  await using bus = await openBus(target)
  const { lag, inFlight = 0 } = await bus.admin.group(name)
  const unhandled = lag === undefined ? 'its unhandled events' : counted(lag + inFlight, 'unhandled event')
  if (!(await confirmed(settings, target, `delete the group ${name} with ${unhandled}`))) {
    terminal.err('nothing was deleted')
    return EXIT.failed
  }
  const deleted = await bus.admin.deleteGroup(name, {
    ...(by !== undefined && { by }),
    ...(reason !== undefined && { why: reason }),
  })
  if (isJson) await terminal.out(JSON.stringify({ version: 1, deleted }))
  else terminal.err(`deleted the group ${name}`)
  return EXIT.done
}
