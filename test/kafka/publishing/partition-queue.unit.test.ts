import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Batch,
  PartitionQueue,
  QueuedRecord,
  type RecordOutcome,
} from '../../../src/kafka/publishing/partition-queue.ts'

const identity = { producerId: 7n, producerEpoch: 0 }
const MAX = 1_000_000

/** A queue, and the outcomes of its records by value. */
function scene() {
  const queue = new PartitionQueue('topic', 0)
  const outcomes = new Map<string, RecordOutcome>()
  const add = (value: string, call: object = {}) => {
    const record = new QueuedRecord({ key: 'k', value, headers: [] }, call, (outcome) =>
      outcomes.set(value, outcome),
    )
    queue.add(record)
    return record
  }
  return { queue, outcomes, add }
}

const valuesOf = (batch: Batch | undefined) => batch?.records.map(({ record }) => String(record.value))
const firstOf = (batch: Batch | undefined) => batch?.sequence?.first

describe('the records that wait for a partition', () => {
  it('are not sent once their caller got notStored', () => {
    const { queue, add } = scene()
    const [a] = [add('a'), add('b')]
    const batch = queue.next(identity, MAX, MAX)
    a.settle({ status: 'notStored' })

    queue.markSent()

    expect(valuesOf(batch)).toEqual(['b'])
    queue.succeed()
    add('c')
    expect(firstOf(queue.next(identity, MAX, MAX))).toBe(1)
  })

  it('are sent again unchanged if their caller got unknown', () => {
    const { queue, add } = scene()
    const [a] = [add('a'), add('b')]
    const batch = queue.next(identity, MAX, MAX)
    queue.markSent()
    a.settle({ status: 'unknown' })
    if (batch !== undefined) batch.isInDoubt = true

    queue.markSent()

    expect(valuesOf(batch)).toEqual(['a', 'b'])
  })

  it('are not sent after notStored, although others of the batch were sent and refused before', () => {
    const { queue, add } = scene()
    add('sent')
    queue.next(identity, 1, MAX)
    queue.markSent()
    queue.requeue()
    const given = add('given up')
    add('waiting')
    const batch = queue.next({ ...identity, producerId: 8n }, MAX, MAX)
    expect(given.wasSent).toBe(false)
    given.settle({ status: 'notStored' })

    queue.markSent()

    expect(valuesOf(batch)).toEqual(['sent', 'waiting'])
  })

  it('are sent in order, in batches of the target size', () => {
    const { queue, add } = scene()
    for (const value of ['a', 'b', 'c', 'd', 'e']) add(value)
    const size = add('f').size
    expect(valuesOf(queue.next(undefined, size * 2, MAX))).toEqual(['a', 'b'])
    queue.succeed()
    expect(valuesOf(queue.next(undefined, MAX, size * 3))).toEqual(['c', 'd', 'e'])
    queue.succeed()
    expect(valuesOf(queue.next(undefined, 1, MAX))).toEqual(['f'])
    queue.succeed()
    expect(queue.next(undefined, 1, MAX)).toBeUndefined()
    expect(queue.isEmpty).toBe(true)
  })

  it('stay together if they were published together, up to the limit', () => {
    const { queue, add } = scene()
    const call = {}
    add('alone')
    for (const value of ['a', 'b', 'c']) add(value, call)
    const { size } = add('d', call)
    add('later')
    expect(valuesOf(queue.next(undefined, 1, MAX))).toEqual(['alone'])
    queue.succeed()
    expect(valuesOf(queue.next(undefined, 1, size * 3))).toEqual(['a', 'b', 'c'])
    queue.succeed()
    expect(valuesOf(queue.next(undefined, 1, MAX))).toEqual(['d'])
  })

  it('are sent even if one record alone exceeds the limit', () => {
    const { queue, add } = scene()
    add('a')
    add('b')
    expect(valuesOf(queue.next(undefined, 1, 1))).toEqual(['a'])
  })

  it('form the same batch until it is settled', () => {
    const { queue, add } = scene()
    add('a')
    const batch = queue.next(identity, 1, MAX)
    add('b')
    expect(queue.next(identity, MAX, MAX)).toBe(batch)
  })
})

describe('the sequence of a producer', () => {
  it('counts records, and restarts with another identity', () => {
    const { queue, add } = scene()
    const call = {}
    for (const value of ['a', 'b', 'c']) add(value, call)
    expect(queue.next(identity, 1, MAX)?.sequence).toEqual({ ...identity, first: 0 })
    queue.succeed()
    add('d')
    expect(firstOf(queue.next(identity, 1, MAX))).toBe(3)
    queue.succeed()
    add('e')
    const other = { producerId: 8n, producerEpoch: 0 }
    expect(queue.next(other, 1, MAX)?.sequence).toEqual({ ...other, first: 0 })
    queue.succeed()
    add('f')
    expect(firstOf(queue.next(other, 1, MAX))).toBe(1)
  })

  it('does not advance for records that were certainly not stored', () => {
    const { queue, add, outcomes } = scene()
    add('refused')
    expect(firstOf(queue.next(identity, 1, MAX))).toBe(0)
    queue.fail({ status: 'notStored', error: new Error('no') })
    add('a')
    expect(firstOf(queue.next(identity, 1, MAX))).toBe(0)
    expect(queue.needsNewIdentity(identity)).toBe(false)
    expect(outcomes.get('refused')).toMatchObject({ status: 'notStored' })
  })

  it('is unknown after an abandoned batch that may be stored, until there is a new identity', () => {
    const { queue, add, outcomes } = scene()
    add('lost')
    const batch = queue.next(identity, 1, MAX)
    if (batch !== undefined) batch.isInDoubt = true
    queue.fail({ status: 'notStored' })
    expect(outcomes.get('lost')).toEqual({ status: 'unknown' })
    expect(queue.needsNewIdentity(identity)).toBe(true)
    add('a')
    const other = { producerId: 9n, producerEpoch: 0 }
    expect(queue.needsNewIdentity(other)).toBe(false)
    queue.next(other, 1, MAX)
    expect(queue.needsNewIdentity(other)).toBe(false)
  })

  it('wraps around after the largest 32-bit number', () => {
    const { queue, add } = scene()
    add('a')
    const batch = queue.next(identity, 1, MAX)
    // Simulates more records than a test can create.
    const many = { length: 2 ** 31 - 1, *[Symbol.iterator]() {} }
    Object.assign(batch ?? {}, { records: many })
    queue.succeed()
    add('b')
    expect(firstOf(queue.next(identity, 1, MAX))).toBe(2 ** 31 - 1)
    queue.succeed()
    add('c')
    expect(firstOf(queue.next(identity, 1, MAX))).toBe(0)
  })
})

describe('a batch', () => {
  it('is formed again in the same order when the broker has forgotten the producer', () => {
    const { queue, add } = scene()
    for (const value of ['a', 'b', 'c']) add(value)
    queue.next(identity, MAX, MAX)
    add('d')
    queue.requeue()
    const batch = queue.next({ producerId: 8n, producerEpoch: 0 }, MAX, MAX)
    expect(valuesOf(batch)).toEqual(['a', 'b', 'c', 'd'])
    expect(firstOf(batch)).toBe(0)
  })

  it('is split until it is one record, in the same order', () => {
    const { queue, add } = scene()
    const call = {}
    for (const value of ['a', 'b', 'c', 'd', 'e']) add(value, call)
    expect(valuesOf(queue.next(identity, 1, MAX))).toHaveLength(5)
    expect(queue.split()).toBe(true)
    expect(valuesOf(queue.next(identity, 1, MAX))).toEqual(['a', 'b', 'c'])
    expect(queue.split()).toBe(true)
    expect(valuesOf(queue.next(identity, 1, MAX))).toEqual(['a', 'b'])
    expect(queue.split()).toBe(true)
    const single = queue.next(identity, 1, MAX)
    expect(valuesOf(single)).toEqual(['a'])
    expect(firstOf(single)).toBe(0)
    expect(queue.split()).toBe(false)
  })

  it('is dropped when all callers have given up, unless it is in flight', () => {
    const { queue, add } = scene()
    const record = add('a')
    const batch = queue.next(identity, 1, MAX)
    queue.isBusy = true
    record.settle({ status: 'unknown' })
    queue.prune()
    expect(queue.batch).toBe(batch)
    queue.isBusy = false
    queue.prune()
    expect(queue.isEmpty).toBe(true)
  })

  it('does not contain records whose callers gave up before it was formed', () => {
    const { queue, add } = scene()
    add('a')
    add('b').settle({ status: 'notStored' })
    add('c')
    expect(valuesOf(queue.next(undefined, MAX, MAX))).toEqual(['a', 'c'])
  })
})

describe('the broker of a partition', () => {
  const anyEvent = fc.constantFrom('add', 'send', 'send', 'succeed', 'reform', 'split', 'fail', 'giveUp')
  const anyEvents = fc.array(fc.tuple(anyEvent, fc.nat(20)), { maxLength: 200, size: 'max' })

  it('receives each record once and in order, with consecutive sequence numbers, under random faults', () => {
    fc.assert(
      fc.property(anyEvents, (events) => {
        const { queue, add, outcomes } = scene()
        const waiting: QueuedRecord[] = []
        const stored: string[] = []
        let expected = 0
        let added = 0
        for (const [event, pick] of events) {
          if (event === 'add') waiting.push(add(String(added++)))
          else if (event === 'send') queue.next(identity, 20 * pick, MAX)
          else if (event === 'giveUp') waiting[pick]?.settle({ status: 'unknown' })
          else if (event === 'fail') queue.fail({ status: 'notStored' })
          else if (event === 'reform') queue.requeue()
          else if (event === 'split') queue.split()
          else if (queue.batch !== undefined) {
            expect(firstOf(queue.batch)).toBe(expected)
            expected += queue.batch.records.length
            stored.push(...(valuesOf(queue.batch) ?? []))
            queue.succeed()
          }
        }
        expect(stored.map(Number)).toEqual(stored.map(Number).toSorted((a, b) => a - b))
        expect(new Set(stored).size).toBe(stored.length)
        for (const value of stored) expect(outcomes.get(value)?.status).not.toBe('notStored')
      }),
    )
  })
})

it('takes 100,000 records in small batches without reading the records behind them', () => {
  const queue = new PartitionQueue('t', 0)
  let looks = 0
  for (let index = 0; index < 100_000; index += 1) {
    const queued = new QueuedRecord({ key: 'k', value: 'v', headers: [] }, {}, () => undefined)
    let isSettled = false
    Object.defineProperty(queued, 'isSettled', {
      get: () => {
        looks += 1
        return isSettled
      },
      set: (value: boolean) => {
        isSettled = value
      },
    })
    queue.add(queued)
  }
  let stored = 0
  for (let batch = queue.next(undefined, 1000, 10_000); batch !== undefined; ) {
    stored += batch.records.length
    queue.succeed()
    batch = queue.next(undefined, 1000, 10_000)
  }
  expect(stored).toBe(100_000)
  expect(looks).toBeLessThan(1_000_000)
})
