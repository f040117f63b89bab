/** The seats of the workers that share the partitions of a group; see `RabbitMQSeats`. */
export type Seats = readonly number[]

/** The seat of the worker that consumes a partition, and that of the one that stands by for it. */
export interface PartitionRoles {
  readonly owner: number
  /** Undefined if there is only one worker. */
  readonly standby: number | undefined
}

/**
 * Shares the partitions among the workers: the numbers of partitions of two workers differ by at most one. All workers
 * come to the same result from the same seats. A worker that comes or goes moves few partitions other than its own.
 *
 * @param seats - not empty.
 * @returns the roles for each partition. The worker that stands by is the owner if the present owner leaves.
 */
export function shareOut(partitions: number, seats: Seats): readonly PartitionRoles[] {
  const owners = ownersOf(partitions, seats)
  const without = new Map(
    seats.length < 2
      ? []
      : seats.map(
          (seat) =>
            [
              seat,
              ownersOf(
                partitions,
                seats.filter((other) => other !== seat),
              ),
            ] as const,
        ),
  )
  return owners.map((owner, partition) => ({ owner, standby: without.get(owner)?.[partition] }))
}

/** The partitions of free seats go one by one to the worker with the fewest. */
function ownersOf(partitions: number, seats: Seats): readonly number[] {
  const taken = new Set(seats)
  const owners = ownersOfAll(partitions, Math.max(...seats) + 1)
  const counts = new Map(seats.toSorted((a, b) => a - b).map((seat) => [seat, 0]))
  for (const owner of owners) if (taken.has(owner)) counts.set(owner, (counts.get(owner) ?? 0) + 1)
  return owners.map((owner) => {
    if (taken.has(owner)) return owner
    const heir = least(counts)
    counts.set(heir, (counts.get(heir) ?? 0) + 1)
    return heir
  })
}

/** The owners if all seats up to a number are taken. Each further worker takes only its own share from the others. */
function ownersOfAll(partitions: number, workers: number): readonly number[] {
  const shares: number[][] = [Array.from({ length: partitions }, (_, partition) => partition)]
  for (let worker = 1; worker < workers; worker += 1) {
    const own: number[] = []
    while (own.length < Math.floor(partitions / (worker + 1))) {
      const largest = shares.reduce((most, share) => (share.length > most.length ? share : most))
      const partition = largest.pop()
      if (partition !== undefined) own.push(partition)
    }
    shares.push(own)
  }
  const owners: number[] = []
  for (const [worker, share] of shares.entries()) for (const partition of share) owners[partition] = worker
  return owners
}

function least(counts: ReadonlyMap<number, number>): number {
  return [...counts].reduce((fewest, entry) => (entry[1] < fewest[1] ? entry : fewest))[0]
}
