import { type OptionRule, oneOf, optional } from '../kit/options.ts'

/** What a consumer group wants: events of one aggregate in order across all its consumers, or no such order. */
export type Ordering = 'aggregate' | 'none'

/** Options of the buses whose broker has no partitions of its own. */
export interface PartitionOptions {
  /**
   * Number of partitions, from 1 to 256. All events of an aggregate are in one partition. All consumers of a group need
   * the same number; on Redis, all publishers and all groups do. `docs/ordering.md` has the procedure to change it.
   * Default 1.
   */
  readonly partitions?: number
  /**
   * `'aggregate'`: at any time, one consumer of the group handles the events of an aggregate, in the order of
   * publishing. The consumers share the partitions; with one partition, one consumer works and the others stand by.
   * `'none'`: all consumers share all events, and each keeps the order only of the events that it receives. Default
   * `'aggregate'` if `partitions` is larger than 1, else `'none'`.
   */
  readonly ordering?: Ordering
}

/** The defaults of the options of a bus with partitions. */
export const partitionDefaults = {
  partitions: 1,
  ordering: undefined as Ordering | undefined,
}

/** Each partition costs keys and commands on the broker, so the number is limited. */
const MAX_PARTITIONS = 256

const partitionCount: OptionRule = {
  rule: `an integer from 1 to ${MAX_PARTITIONS}`,
  isValid: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_PARTITIONS,
}

/** The values that the options of partitions accept. */
export const partitionRules: Readonly<Record<keyof typeof partitionDefaults, OptionRule>> = {
  partitions: partitionCount,
  ordering: optional(oneOf('aggregate', 'none')),
}

/** The order that a group wants, with the default applied. */
export function orderingOf({ partitions, ordering }: Readonly<typeof partitionDefaults>): Ordering {
  return ordering ?? (partitions > 1 ? 'aggregate' : 'none')
}
