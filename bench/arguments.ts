// Command line arguments of every benchmark.
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    large: { type: 'boolean', default: false },
    compare: { type: 'string' },
    unsaved: { type: 'boolean', default: false },
  },
})

/** Prints only a JSON array on stdout. */
export const isJson = values.json
/** Runs one round with tiny counts, to check that the benchmark works. Its figures are meaningless and not stored. */
export const isQuick = values.quick
/** Runs only workloads whose name contains one of these texts. The results are not stored. */
export const only = values.only
/** Runs the workloads that take several minutes, and no others. */
export const isLarge = values.large
/** Prints the run beside an earlier one, whose results are in this file or folder. */
export const compareWith = values.compare
/** Stores no results. */
export const isUnsaved = values.unsaved
/** The positional argument: a broker, or a store. */
export const subject = positionals[0]

/** The given number of events, or a hundredth of it in a quick run. */
export function sized(count: number): number {
  return isQuick ? Math.max(10, Math.round(count / 100)) : count
}
