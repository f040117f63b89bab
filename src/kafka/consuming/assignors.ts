import { partitionKey, partitionsOf, type TopicPartition } from '../client/topic-partition.ts'

/** A group member, as it described itself when it joined. */
export interface AssignableMember {
  readonly memberId: string
  /** The topics that it consumes. It gets partitions of no other topic. */
  readonly topics: ReadonlySet<string>
  /** The partitions that it owned in `generation`. */
  readonly owned: readonly TopicPartition[]
  /** -1 if it has none yet. */
  readonly generation: number
}

/** The partitions of each member, by member id. */
export type GroupAssignment = ReadonlyMap<string, readonly TopicPartition[]>

/** Assigns the partitions of topics to the members that subscribed to them. */
export type Assignor = (
  members: readonly AssignableMember[],
  partitionCounts: ReadonlyMap<string, number>,
) => GroupAssignment

/** Assigns one partition after the other to the next member that subscribed to its topic. */
export const assignInTurn: Assignor = (members, partitionCounts) => {
  const sorted = inOrder(members)
  const assigned = new Map<string, TopicPartition[]>(sorted.map(({ memberId }) => [memberId, []]))
  let turn = 0
  for (const partition of assignable(sorted, partitionCounts)) {
    while (sorted[turn % sorted.length]?.topics.has(partition.topic) !== true) turn += 1
    assigned.get(sorted[turn % sorted.length]?.memberId ?? '')?.push(partition)
    turn += 1
  }
  return assigned
}

/**
 * Leaves partitions with their owners as far as the members of each topic have equal shares. A partition that must move
 * is first assigned to no member: its owner releases it, and the members join once more.
 */
export const assignCooperatively: Assignor = (members, partitionCounts) => {
  const sorted = inOrder(members)
  const partitions = assignable(sorted, partitionCounts)
  const shares = new Shares(sorted)
  const owners = formerOwners(sorted)
  for (const partition of partitions) {
    const owner = owners.get(partitionKey(partition))
    if (owner?.topics.has(partition.topic) === true) shares.give(partition, owner)
  }
  for (const partition of partitions) {
    if (shares.ownerOf(partition) === undefined) shares.give(partition, shares.poorest(partition.topic))
  }
  let hasMoved = true
  while (hasMoved) hasMoved = partitions.map((partition) => shares.balance(partition)).includes(true)
  return withoutClaims(shares.assignment(partitions), sorted)
}

/** How many partitions each member has, of each topic and of all. */
class Shares {
  readonly #byTopic = new Map<string, readonly AssignableMember[]>()
  readonly #members: readonly AssignableMember[]
  readonly #owners = new Map<string, AssignableMember>()
  readonly #totals = new Map<AssignableMember, number>()
  readonly #counts = new Map<AssignableMember, Map<string, number>>()

  constructor(members: readonly AssignableMember[]) {
    this.#members = members
  }

  ownerOf(partition: TopicPartition): AssignableMember | undefined {
    return this.#owners.get(partitionKey(partition))
  }

  give(partition: TopicPartition, member: AssignableMember): void {
    const former = this.ownerOf(partition)
    if (former !== undefined) this.#add(former, partition.topic, -1)
    this.#add(member, partition.topic, 1)
    this.#owners.set(partitionKey(partition), member)
  }

  /** The subscriber of a topic with the fewest partitions of it, and with the fewest of all among those. */
  poorest(topic: string): AssignableMember {
    return this.#subscribers(topic).reduce((poorest, member) =>
      this.#isPoorer(member, poorest, topic) ? member : poorest,
    )
  }

  /** Moves a partition if the shares become more equal. @returns whether it did. */
  balance(partition: TopicPartition): boolean {
    const owner = this.ownerOf(partition)
    const { topic } = partition
    if (owner === undefined) return false
    const member = this.poorest(topic)
    const gap = this.#of(owner, topic) - this.#of(member, topic)
    const totalGap = this.#total(owner) - this.#total(member)
    if (gap < 1 || (gap === 1 && totalGap < 2)) return false
    this.give(partition, member)
    return true
  }

  assignment(partitions: readonly TopicPartition[]): Map<string, readonly TopicPartition[]> {
    const byOwner = Map.groupBy(partitions, (partition) => this.ownerOf(partition)?.memberId)
    return new Map(this.#members.map(({ memberId }) => [memberId, byOwner.get(memberId) ?? []]))
  }

  #isPoorer(member: AssignableMember, other: AssignableMember, topic: string): boolean {
    const gap = this.#of(other, topic) - this.#of(member, topic)
    return gap > 0 || (gap === 0 && this.#total(member) < this.#total(other))
  }

  #subscribers(topic: string): readonly AssignableMember[] {
    const known = this.#byTopic.get(topic) ?? this.#members.filter(({ topics }) => topics.has(topic))
    this.#byTopic.set(topic, known)
    return known
  }

  #add(member: AssignableMember, topic: string, change: number): void {
    this.#totals.set(member, this.#total(member) + change)
    const counts = this.#counts.get(member) ?? new Map<string, number>()
    counts.set(topic, (counts.get(topic) ?? 0) + change)
    this.#counts.set(member, counts)
  }

  #total(member: AssignableMember): number {
    return this.#totals.get(member) ?? 0
  }

  #of(member: AssignableMember, topic: string): number {
    return this.#counts.get(member)?.get(topic) ?? 0
  }
}

/** The order of the members must not depend on the coordinator. */
function inOrder(members: readonly AssignableMember[]): readonly AssignableMember[] {
  return [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1))
}

/** The partitions of all topics that a member subscribed to, topic by topic. */
function assignable(
  members: readonly AssignableMember[],
  partitionCounts: ReadonlyMap<string, number>,
): readonly TopicPartition[] {
  const topics = new Set(members.flatMap((member) => [...member.topics]))
  return [...topics].sort().flatMap((topic) => partitionsOf(topic, partitionCounts.get(topic) ?? 0))
}

/** The owners in the latest generation, by partition key. A partition with two of them has none. */
function formerOwners(members: readonly AssignableMember[]): ReadonlyMap<string, AssignableMember> {
  const latest = Math.max(...members.map(({ generation }) => generation))
  const owners = new Map<string, AssignableMember>()
  const contested = new Set<string>()
  for (const member of members) {
    if (member.generation < latest) continue
    for (const key of member.owned.map(partitionKey)) {
      if (owners.has(key)) contested.add(key)
      else owners.set(key, member)
    }
  }
  for (const key of contested) owners.delete(key)
  return owners
}

/** Leaves out partitions that another member still claims. */
function withoutClaims(
  assignment: Map<string, readonly TopicPartition[]>,
  members: readonly AssignableMember[],
): GroupAssignment {
  const claims = Map.groupBy(
    members.flatMap(({ memberId, owned }) => owned.map((partition) => ({ memberId, partition }))),
    ({ partition }) => partitionKey(partition),
  )
  for (const [memberId, partitions] of assignment) {
    const isFree = (partition: TopicPartition) => {
      const claimants = (claims.get(partitionKey(partition)) ?? []).map((claim) => claim.memberId)
      return claimants.length === 0 || claimants.includes(memberId)
    }
    assignment.set(memberId, partitions.filter(isFree))
  }
  return assignment
}
