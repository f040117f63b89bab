// What every bench takes on its command line.
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
  },
})

/** A JSON array on stdout and nothing else. */
export const isJson = values.json
/** One round of tiny counts, to see that the bench works. Its figures mean nothing and are not kept. */
export const isQuick = values.quick
/** Only works whose name holds this. The results are not kept. */
export const only = values.only
/** What the program is to do it for: a broker. */
export const subject = positionals[0]

/** So many events, or a hundredth in a quick run. */
export function sized(count: number): number {
  return isQuick ? Math.max(10, Math.round(count / 100)) : count
}
