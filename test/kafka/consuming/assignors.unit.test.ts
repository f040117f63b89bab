import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { partitionKey, type TopicPartition } from '../../../src/kafka/client/topic-partition.ts'
import {
  type AssignableMember,
  assignCooperatively,
  assignInTurn,
  type GroupAssignment,
} from '../../../src/kafka/consuming/assignors.ts'

const member = (
  memberId: string,
  topics: readonly string[],
  owned: readonly TopicPartition[] = [],
  generation = owned.length > 0 ? 1 : -1,
): AssignableMember => ({ memberId, topics: new Set(topics), owned, generation })

const partition = (text: string): TopicPartition => ({
  topic: text.slice(0, 1),
  index: Number(text.slice(1)),
})
const textOf = ({ topic, index }: TopicPartition) => `${topic}${index}`

const texts = (assignment: GroupAssignment) =>
  Object.fromEntries([...assignment].map(([id, partitions]) => [id, partitions.map(textOf)]))

describe.each([
  ['in turn', assignInTurn],
  ['cooperatively', assignCooperatively],
] as const)('assigning %s', (_name, assign) => {
  it('gives each member partitions of its own topics only, whichever topics the others consume', () => {
    const members = [member('1', ['a']), member('2', ['b']), member('3', ['b', 'c'])]

    const assignment = assign(members, new Map(Object.entries({ a: 3, b: 2, c: 1, d: 5 })))

    expect(texts(assignment)).toEqual({ 1: ['a0', 'a1', 'a2'], 2: ['b0'], 3: ['b1', 'c0'] })
  })

  it('assigns nothing of a topic that cannot be read', () => {
    expect(texts(assign([member('1', ['a', 'b'])], new Map([['a', 1]])))).toEqual({ 1: ['a0'] })
  })

  it('assigns every partition once, in shares of each topic that differ by one at most', () => {
    const topics = fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 })
    const counts = fc.record({ a: fc.nat(9), b: fc.nat(9), c: fc.nat(9) })
    fc.assert(
      fc.property(fc.array(topics, { minLength: 1, maxLength: 5 }), counts, (subscriptions, sizes) => {
        const members = subscriptions.map((of, index) => member(String(index), of))
        const assignment = assign(members, new Map(Object.entries(sizes)))
        const all = [...assignment.values()].flat().map(partitionKey)
        expect(new Set(all).size).toBe(all.length)
        for (const [topic, size] of Object.entries(sizes)) {
          const subscribers = members.filter((each) => each.topics.has(topic))
          const shares = members.map(
            ({ memberId }) => assignment.get(memberId)?.filter((each) => each.topic === topic).length ?? 0,
          )
          const total = shares.reduce((sum, share) => sum + share, 0)
          expect(total).toBe(subscribers.length === 0 ? 0 : size)
          if (assign === assignInTurn) continue
          const own = shares.filter((_, index) => members[index]?.topics.has(topic))
          if (own.length > 0) expect(Math.max(...own) - Math.min(...own)).toBeLessThanOrEqual(1)
        }
      }),
    )
  })
})

describe('assigning cooperatively', () => {
  const sizes = new Map([['a', 6]])
  const all = ['a0', 'a1', 'a2', 'a3', 'a4', 'a5'].map(partition)

  it('leaves partitions with their owners', () => {
    const members = [member('1', ['a'], all.slice(3)), member('2', ['a'], all.slice(0, 3))]

    expect(texts(assignCooperatively(members, sizes))).toEqual({
      1: ['a3', 'a4', 'a5'],
      2: ['a0', 'a1', 'a2'],
    })
  })

  it('assigns a partition that must move to no member until its owner has released it', () => {
    const joined = assignCooperatively([member('1', ['a'], all), member('2', ['a'])], sizes)
    expect(texts(joined)).toEqual({ 1: ['a3', 'a4', 'a5'], 2: [] })

    const again = assignCooperatively([member('1', ['a'], all.slice(3), 2), member('2', ['a'], [], 2)], sizes)
    expect(texts(again)).toEqual({ 1: ['a3', 'a4', 'a5'], 2: ['a0', 'a1', 'a2'] })
  })

  it('trusts neither of two members that claim the same partition, nor a claim from an earlier generation', () => {
    const members = [member('1', ['a'], all.slice(0, 1), 2), member('2', ['a'], all.slice(0, 1), 2)]
    expect(texts(assignCooperatively(members, sizes))[1]).not.toEqual(
      texts(assignCooperatively(members, sizes))[2],
    )

    const stale = [member('1', ['a'], all.slice(0, 3), 2), member('2', ['a'], all.slice(0, 3), 1)]
    expect(texts(assignCooperatively(stale, sizes))[1]).toEqual(['a0', 'a1', 'a2'])
  })

  it('takes away the partitions of a topic that a member no longer consumes', () => {
    const members = [member('1', ['b'], all), member('2', ['a'])]

    expect(texts(assignCooperatively(members, sizes))).toEqual({ 1: [], 2: [] })
  })

  it('reaches a stable assignment within a few joins, whichever members join and leave', () => {
    fc.assert(
      fc.property(
        fc.array(fc.subarray(['1', '2', '3', '4'], { minLength: 1 }), { maxLength: 6 }),
        (groups) => {
          let owned = new Map<string, readonly TopicPartition[]>()
          let generation = 0
          for (const ids of groups) {
            owned = new Map(ids.map((id) => [id, owned.get(id) ?? []]))
            for (let join = 0; join < 3; join += 1) {
              generation += 1
              const members = ids.map((id) => member(id, ['a'], owned.get(id) ?? [], generation))
              owned = new Map(assignCooperatively(members, sizes))
            }
            const shares = [...owned.values()].map(({ length }) => length)
            expect(shares.reduce((sum, share) => sum + share, 0)).toBe(6)
            expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1)
          }
        },
      ),
    )
  })
})
