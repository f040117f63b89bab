/** One run of a handler: which event of which aggregate, numbered from 0, in the order in which handlers started. */
export interface OrderedRun {
  readonly aggregateId: string
  readonly n: number
}

/**
 * The faults in the order of each aggregate. After a crash the events of an aggregate may come again from an earlier one
 * on, but then each of its successors comes again, too: no event follows one that is not its predecessor or later.
 */
export function orderFaults(runs: readonly OrderedRun[]): readonly string[] {
  return [...Map.groupBy(runs, ({ aggregateId }) => aggregateId)].flatMap(([aggregateId, ofOne]) => {
    const numbers = ofOne.map(({ n }) => n)
    const faults = numbers.flatMap((n, index) => {
      const previous = numbers[index - 1] ?? -1
      return n > previous + 1 ? [`${aggregateId}: ${n} after ${previous}`] : []
    })
    const last = numbers.at(-1) ?? -1
    const highest = Math.max(...numbers)
    return last === highest ? faults : [...faults, `${aggregateId}: ends with ${last}, not with ${highest}`]
  })
}
