import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readProgress } from '../../../src/kafka/wire/progress.ts'
import { PartitionModel } from './partition-model.ts'

const ROOM = 1000
const SHARE = 40
const WINDOW = 150

const steps = {
  publish: (model: PartitionModel, pick: number) => {
    model.logEnd += 1 + (pick % 30)
  },
  fetch: (model: PartitionModel, pick: number) => model.fetch(1 + (pick % 30)),
  deliver: (model: PartitionModel, pick: number) => model.deliver(1 + (pick % 20), SHARE, WINDOW),
  begin: (model: PartitionModel, pick: number) => model.begin(pick),
  finish: (model: PartitionModel, pick: number) => model.finish(pick),
  sendCommit: (model: PartitionModel) => model.sendCommit(),
  landCommit: (model: PartitionModel) => model.landCommit(),
  answerCommit: (model: PartitionModel) => model.answerCommit(),
  crash: (model: PartitionModel) => model.crash(),
  end: (model: PartitionModel) => model.end(),
} as const

type StepName = keyof typeof steps
type Step = readonly [name: StepName, pick: number]

const work: readonly StepName[] = [
  'deliver',
  'begin',
  'begin',
  'finish',
  'finish',
  'sendCommit',
  'landCommit',
  'answerCommit',
]
const anyStep: fc.Arbitrary<Step> = fc.tuple(
  fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom<StepName>('publish', 'fetch', ...work) },
    { weight: 1, arbitrary: fc.constantFrom<StepName>('crash', 'end') },
  ),
  fc.nat(1000),
)
const anySchedule = fc.array(anyStep, { minLength: 50, maxLength: 600, size: 'max' })

/** Offsets with gaps, as compaction and transactions leave them. */
const anyLog = fc
  .array(fc.constantFrom(1, 1, 1, 1, 2, 7), { minLength: 1, maxLength: 250, size: 'max' })
  .map((gaps) => {
    let at = -1
    return gaps.map((gap) => {
      at += gap
      return at
    })
  })

/** Runs without faults until everything is finished and committed. */
function drain(model: PartitionModel): void {
  for (let round = 0; !model.isAllDone && round < 500; round += 1) {
    model.fetch(100)
    model.deliver(ROOM, ROOM, Number.POSITIVE_INFINITY)
    for (let record = 0; record < 100; record += 1) model.begin(0)
    while (model.running > 0) model.finish(0)
    model.sendCommit()
    model.landCommit()
    model.answerCommit()
  }
}

function play(model: PartitionModel, schedule: readonly Step[], check: (name: StepName) => void): void {
  for (const [name, pick] of schedule) {
    steps[name](model, pick)
    check(name)
  }
}

describe('a partition whose records finish in any order and whose owners crash at any point', () => {
  it('commits nothing beyond its first unfinished record', () => {
    fc.assert(
      fc.property(anyLog, anySchedule, (log, schedule) => {
        const model = new PartitionModel(log, Number.POSITIVE_INFINITY)
        play(model, schedule, (name) => {
          if (name !== 'landCommit' && name !== 'end') return
          const { offset, metadata, finished } = model.committed
          const progress = readProgress(offset, metadata)
          const isCovered = (at: number) =>
            at < offset || progress.finished.some(([from, to]) => at >= from && at < to)
          for (const at of log) expect(isCovered(at)).toBe(finished.has(at))
        })
      }),
      { numRuns: 60 },
    )
  })

  it('delivers to each owner, in order, exactly the records that were not committed as finished', () => {
    fc.assert(
      fc.property(anyLog, anySchedule, (log, schedule) => {
        const model = new PartitionModel(log, Number.POSITIVE_INFINITY)
        const check = () => {
          const [first] = model.seen
          if (first === undefined) return
          const due = log.filter((at) => !first.known.finished.has(at)).slice(0, model.seen.length)
          expect(model.seen.map(({ offset }) => offset)).toEqual(due)
        }
        play(model, schedule, check)
        drain(model)
        check()
        expect(model.isAllDone).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  it('loses nothing if its progress does not fit into the metadata', () => {
    fc.assert(
      fc.property(anyLog, anySchedule, fc.integer({ min: 60, max: 120 }), (log, schedule, limit) => {
        const model = new PartitionModel(log, limit)
        play(model, schedule, () => {
          for (const at of log) if (at < model.committed.offset) expect(model.finished.has(at)).toBe(true)
        })
        drain(model)
        expect(model.isAllDone).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  it('counts a delivery that a crash interrupted', () => {
    fc.assert(
      fc.property(anyLog, anySchedule, (log, schedule) => {
        const model = new PartitionModel(log, Number.POSITIVE_INFINITY)
        model.logEnd = 0
        let interrupted = new Set<number>()
        let started = model.started
        play(model, schedule, (name) => {
          if (name === 'crash') interrupted = new Set([...interrupted, ...started])
          // A clean stop interrupts an attempt without counting it.
          if (name === 'end') interrupted = new Set()
          started = model.started
          for (const { offset, deliveryCount } of model.seen) {
            if (interrupted.has(offset)) expect(deliveryCount).toBeGreaterThan(1)
          }
        })
      }),
      { numRuns: 60 },
    )
  })
})

describe('a partition', () => {
  const log = Array.from({ length: 300 }, (_, index) => index)
  const announced = () => {
    const model = new PartitionModel(log, Number.POSITIVE_INFINITY)
    model.fetch(300)
    const commit = () => {
      model.sendCommit()
      model.landCommit()
      model.answerCommit()
    }
    commit()
    return { model, commit }
  }

  it('counts no attempt of records that were published after a crash', () => {
    const { model } = announced()
    model.logEnd = 20
    model.deliver(10, ROOM, ROOM)
    model.begin(0)

    model.crash()
    model.fetch(300)
    model.logEnd = 300
    model.fetch(300)
    model.sendCommit()
    model.landCommit()
    model.answerCommit()
    model.deliver(ROOM, ROOM, ROOM)

    const counts = new Map(model.seen.map(({ offset, deliveryCount }) => [offset, deliveryCount]))
    expect([counts.get(0), counts.get(19), counts.get(20), counts.get(40)]).toEqual([2, 2, 1, 1])
  })

  it('delivers no record before a commit has announced it', () => {
    const model = new PartitionModel(log, Number.POSITIVE_INFINITY)
    model.fetch(300)
    model.deliver(ROOM, ROOM, ROOM)
    expect(model.seen).toEqual([])
  })

  it('holds at most its share, and delivers at most the window ahead of its first unfinished record', () => {
    const { model } = announced()
    model.deliver(ROOM, 10, 1000)
    expect(model.seen).toHaveLength(10)
    model.deliver(ROOM, ROOM, 25)
    expect(model.seen).toHaveLength(25)
    for (let record = 0; record < 25; record += 1) model.begin(0)
    // All but the first finish. The first one keeps the window in its place.
    for (let record = 1; record < 25; record += 1) model.finish(1)
    model.deliver(ROOM, ROOM, 25)
    expect(model.seen).toHaveLength(25)
    model.finish(0)
    model.deliver(ROOM, ROOM, 25)
    expect(model.seen).toHaveLength(50)
  })

  it('delivers records that a clean stop interrupted or did not start as first deliveries', () => {
    const { model, commit } = announced()
    model.deliver(ROOM, 10, 1000)
    for (let record = 0; record < 5; record += 1) model.begin(0)
    model.finish(2)
    model.end()
    model.fetch(300)
    commit()
    model.deliver(5, 10, 1000)
    expect(model.seen.map(({ offset, deliveryCount }) => [offset, deliveryCount])).toEqual(
      [0, 1, 3, 4, 5].map((at) => [at, 1]),
    )
  })

  it('keeps the attempt that a crash interrupted if a clean stop follows before the next one', () => {
    const { model, commit } = announced()
    model.deliver(ROOM, 10, 1000)
    for (let record = 0; record < 5; record += 1) model.begin(0)
    model.crash()
    model.fetch(300)
    commit()
    model.deliver(5, 10, 1000)
    model.end()
    model.fetch(300)
    commit()
    model.deliver(5, 10, 1000)
    expect(model.seen.map(({ deliveryCount }) => deliveryCount)).toEqual([2, 2, 2, 2, 2])
  })

  it('skips gaps of any size, as compaction and transactions leave them', () => {
    const model = new PartitionModel([0, 1, 100_000, 100_001, 300_000], Number.POSITIVE_INFINITY)
    drain(model)
    expect(model.isAllDone).toBe(true)
  })
})
