// What the order across a group costs: a backlog with and without partitions, and a group of four workers compared with one.
import { sized } from '../arguments.ts'
import { compare, type Step } from '../harness.ts'
import { Team, type TeamOptions } from './team.ts'

const PARTITIONS = 8

/** A round in which the worker, the server and the counting process get in each other's way differs by half from the next. */
const ROUNDS = 11

/** Only on the brokers that have no partitions of their own. */
export function partitionSteps(kind: 'redis' | 'rabbitmq', url: string, counts: PartitionCounts): Step[] {
  const step = (work: string, count: number, ours: Part, raw: Part) =>
    teamStep(work, count, { kind, url, handlerMs: 0, ...ours }, { kind, url, handlerMs: 0, ...raw })
  const alone = { workers: 1, partitions: PARTITIONS }
  const group = { workers: 4, partitions: PARTITIONS }
  return [
    step('consume, 8 partitions, vs none', counts.fast, alone, { workers: 1, partitions: 1 }),
    step('consume, 8 partitions, 4 processes, vs 1', counts.fast, group, alone),
    step(
      'consume, async handler of 5 ms, 8 partitions, 4 processes, vs 1',
      counts.slow,
      { ...group, handlerMs: 5 },
      { ...alone, handlerMs: 5 },
    ),
  ]
}

/** Number of events for a round of half a second or less. */
interface PartitionCounts {
  readonly fast: number
  readonly slow: number
}

type Part = Omit<TeamOptions, 'kind' | 'url' | 'handlerMs'> & Partial<Pick<TeamOptions, 'handlerMs'>>

/** The processes of both sides live through all rounds, so that a round contains neither a start nor a balancing. */
function teamStep(work: string, count: number, ours: TeamOptions, raw: TeamOptions): Step {
  return {
    work,
    async run(bus) {
      await using first = await Team.start(ours)
      await using second = await Team.start(raw)
      const step = compare({
        work,
        unit: 'events/s',
        rounds: ROUNDS,
        ours: () => first.drain(sized(count)),
        raw: () => second.drain(sized(count)),
      })
      return await step.run(bus)
    },
  }
}
