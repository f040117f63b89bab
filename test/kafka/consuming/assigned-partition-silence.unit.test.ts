import fc from 'fast-check'
import { expect, it } from 'vitest'
import { KafkaAssignedPartition } from '../../../src/kafka/consuming/assigned-partition.ts'
import { readProgress } from '../../../src/kafka/wire/progress.ts'
import type { Delivery } from '../../../src/transport/transport.ts'

const LANES = 3
const COUNT = 60

/** A member whose session expires and resumes, with a pipeline of lanes. */
class SilentMember {
  isMember = true
  readonly #lanes: Delivery[][] = Array.from({ length: LANES }, () => [])
  readonly #running = new Set<number>()
  /** Started offsets of each lane, in order. */
  readonly started: number[][] = Array.from({ length: LANES }, () => [])
  readonly #partition = new KafkaAssignedPartition(
    {
      isMember: () => this.isMember,
      onFinished: () => undefined,
      onGivenBack: () => undefined,
      requestCommit: () => this.commit(),
      whenCommitted: () => Promise.resolve(true),
      deadLetter: () => Promise.resolve(),
      postpone: () => Promise.resolve(),
      waitBehind: () => Promise.resolve(0),
      passOn: () => Promise.resolve(),
    },
    { topic: 't', index: 0, topicId: 'id', isReplays: false },
    { offset: 0, progress: readProgress(0, null) },
  )

  constructor() {
    const records = Array.from({ length: COUNT }, (_, offset) => {
      return {
        offset,
        timestamp: 0,
        key: Buffer.from(String(offset % LANES)),
        value: null,
        sizeBytes: 8,
        headers: [],
        headerTexts: {},
      }
    })
    this.#partition.addFetched(records, COUNT)
  }

  deliver(room: number): void {
    let left = room
    const deliver = (delivery: Delivery) => {
      left -= 1
      this.#lanes[Number(delivery.message.key)]?.push(delivery)
    }
    const intake = {
      get room() {
        return left
      },
      roomBytes: Number.POSITIVE_INFINITY,
      whenRoom: () => Promise.resolve(),
      deliver,
    }
    this.#partition.deliver(intake, { share: COUNT, allowance: { left: COUNT }, window: COUNT })
  }

  /** One step of a lane: finishes its running record, or starts the next one, or drops it if that is refused. */
  turn(lane: number): void {
    const [first] = this.#lanes[lane] ?? []
    if (first === undefined) return
    if (this.#running.has(lane)) {
      this.#running.delete(lane)
      first.ack()
      this.#lanes[lane]?.shift()
    } else if (first.begin()) {
      this.#running.add(lane)
      this.started[lane]?.push(Number(first.message.id.split('-').at(-1)))
    } else this.#lanes[lane]?.shift()
  }

  commit(): void {
    this.#partition.onCommitted(this.#partition.commitState(false))
  }

  get committedOffset(): number {
    return this.#partition.commitState(false).offset
  }
}

const steps = {
  deliver: (member: SilentMember, pick: number) => member.deliver(1 + (pick % 10)),
  turn: (member: SilentMember, pick: number) => member.turn(pick % LANES),
  commit: (member: SilentMember) => member.commit(),
  silence: (member: SilentMember) => {
    member.isMember = false
  },
  resume: (member: SilentMember) => {
    member.isMember = true
  },
} as const

it('starts each record once and in order, even if its session expires and resumes many times', () => {
  const names = ['deliver', 'turn', 'turn', 'turn', 'turn', 'commit', 'silence', 'resume', 'resume'] as const
  const schedule = fc.array(fc.tuple(fc.constantFrom(...names), fc.nat(1000)), {
    minLength: 20,
    maxLength: 400,
  })
  fc.assert(
    fc.property(schedule, (list) => {
      const member = new SilentMember()
      for (const [name, pick] of list) steps[name](member, pick)
      member.isMember = true
      for (let round = 0; round < 4 * COUNT; round += 1) {
        for (let lane = 0; lane < LANES; lane += 1) member.turn(lane)
        member.deliver(COUNT)
      }

      const inOrder = Array.from({ length: LANES }, (_, lane) =>
        Array.from({ length: COUNT / LANES }, (_, index) => index * LANES + lane),
      )
      expect(member.started).toEqual(inOrder)
      expect(member.committedOffset).toBe(COUNT)
    }),
    { numRuns: 300 },
  )
})

it('redelivers the records of each lane after a silence, while a handler of another lane hangs', () => {
  const member = new SilentMember()
  member.deliver(COUNT)
  member.turn(0)
  member.isMember = false
  // Both are refused, because another consumer may have the partition.
  member.turn(1)
  member.turn(2)
  member.isMember = true

  for (let round = 0; round < 4 * COUNT; round += 1) {
    member.turn(1)
    member.turn(2)
    member.deliver(COUNT)
  }

  const all = (lane: number) => Array.from({ length: COUNT / LANES }, (_, index) => index * LANES + lane)
  expect(member.started).toEqual([[0], all(1), all(2)])
  expect(member.committedOffset).toBe(0)
})
