import type { ConsumerHandler, ConsumerInfo } from '../../bus/index.ts'
import { ageOf } from '../../filter-line/index.ts'
import { EXIT, type ExitCode } from '../exit-code.ts'
import { type ListFormat, printList } from '../list-format.ts'
import { openBus } from '../open-bus.ts'
import { type Column, tableOf } from '../table.ts'
import { type BusTarget, placeOf } from '../target.ts'
import type { Terminal } from '../terminal.ts'
import { dotOf, mermaidOf } from './topology-graph.ts'

const CONSUMERS: readonly Column<ConsumerInfo>[] = [
  { heading: 'GROUP', cell: ({ group }) => group },
  { heading: 'CONSUMER', cell: ({ name }) => name },
  { heading: 'HOST', cell: ({ host }) => host },
  { heading: 'PID', cell: ({ pid }) => pid, align: 'right' },
  { heading: 'PROGRAM', cell: programOf },
  { heading: 'EVENTSPINE', cell: ({ eventspineVersion }) => eventspineVersion },
  { heading: 'RUNS FOR', cell: ({ since }) => ageOf(since), align: 'right' },
  { heading: 'SEEN', cell: ({ lastSeenAt }) => ageOf(lastSeenAt), align: 'right' },
  { heading: 'IN FLIGHT', cell: ({ inFlight }) => inFlight, align: 'right' },
  { heading: 'HANDLED', cell: ({ handled }) => handled, align: 'right' },
  { heading: 'FAILED', cell: ({ failed }) => failed, align: 'right' },
  { heading: 'PAUSED', cell: ({ paused }) => (paused ? 'yes' : undefined) },
  { heading: 'HANDLERS', cell: ({ handlers }) => handlers.map(handlerText).join('; ') },
]

/** One line of the table of a topology. */
interface Relation {
  readonly who: string
  readonly does: string
  readonly eventTypes: readonly string[]
}

const RELATIONS: readonly Column<Relation>[] = [
  { heading: 'WHO', cell: ({ who }) => who },
  { heading: 'DOES', cell: ({ does }) => does },
  { heading: 'EVENTS', cell: ({ eventTypes }) => eventTypes.join(', ') },
]

const silent = (target: BusTarget) => `has reported itself in the last 30 seconds ${placeOf(target)}`

export async function listConsumers(
  target: BusTarget,
  settings: { readonly group: string | undefined; readonly format: ListFormat; readonly terminal: Terminal },
): Promise<ExitCode> {
  const { group, format, terminal } = settings
  await using bus = await openBus(target)
  const consumers = await bus.admin.consumers(group)
  if (format !== 'table') await printList(terminal, format, { name: 'consumers', items: consumers })
  else if (consumers.length === 0) terminal.err(`no consumer ${silent(target)}`)
  else await terminal.out(tableOf(consumers, CONSUMERS, terminal))
  return EXIT.done
}

export async function showTopology(
  target: BusTarget,
  settings: { readonly format: 'table' | 'mermaid' | 'dot' | 'json'; readonly terminal: Terminal },
): Promise<ExitCode> {
  const { format, terminal } = settings
  await using bus = await openBus(target)
  const topology = await bus.admin.topology()
  if (format === 'json') await terminal.out(JSON.stringify({ version: 1, topology }))
  else if (format === 'mermaid') await terminal.out(mermaidOf(topology))
  else if (format === 'dot') await terminal.out(dotOf(topology))
  else {
    const { producers, handlers, edges } = topology
    const publishing = Map.groupBy(edges, ({ group, handler }) => `${group}: ${handler}`)
    const relations: readonly Relation[] = [
      ...producers.map(({ name, eventTypes }) => ({ who: name, does: 'publishes', eventTypes })),
      ...handlers.map(({ group, name, eventTypes }) => ({
        ...{ who: `${group}: ${name}`, does: 'handles', eventTypes },
      })),
      ...[...publishing].map(([who, own]) => ({
        ...{ who, does: 'publishes in turn' },
        eventTypes: own.map(({ eventType, publishes }) => `${publishes} (for ${eventType})`),
      })),
    ]
    if (relations.length === 0) terminal.err(`no process ${silent(target)}`)
    else await terminal.out(tableOf(relations, RELATIONS, terminal))
  }
  return EXIT.done
}

function programOf({ programName, programVersion }: ConsumerInfo): string | undefined {
  return programName === undefined ? programVersion : [programName, programVersion].filter(Boolean).join(' ')
}

function handlerText({ name, eventTypes }: ConsumerHandler): string {
  return `${name} (${eventTypes.join(', ')})`
}
