import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type AttemptHistory,
  METADATA_BYTES,
  type PartitionProgress,
  readProgress,
  writeProgress,
} from '../../../src/kafka/wire/progress.ts'

const anyOffset = fc.nat(2 ** 40)
const anyNote: fc.Arbitrary<AttemptHistory> = fc.record({
  count: fc.nat(20),
  settledHandlers: fc.array(fc.string({ unit: 'grapheme', maxLength: 40 }), { maxLength: 4 }),
})

/** Ranges as a partition has them: ascending, disjoint and not empty. */
const rangesFrom = (offset: number, maxLength: number) =>
  fc
    .array(fc.tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 50 })), { maxLength })
    .map((steps) => {
      const ranges: [number, number][] = []
      let at = offset
      for (const [gap, length] of steps) {
        ranges.push([at + gap, at + gap + length])
        at += gap + length
      }
      return ranges
    })

const progressFrom = (offset: number, most: number): fc.Arbitrary<PartitionProgress> =>
  fc.record({
    openUpTo: fc.nat(5000).map((length) => offset + length),
    finished: rangesFrom(offset, most),
    attempts: fc
      .array(fc.tuple(fc.nat(5000), anyNote), { maxLength: most })
      .map((notes) => new Map(notes.map(([delta, note]) => [offset + delta, note]))),
  })

const anyCase = (most: number) =>
  anyOffset.chain((offset) =>
    fc.record({ offset: fc.constant(offset), progress: progressFrom(offset, most) }),
  )

describe('the progress of a partition', () => {
  it('is read back unchanged if it fits', () => {
    fc.assert(
      fc.property(anyCase(8), ({ offset, progress }) => {
        expect(readProgress(offset, writeProgress(offset, progress, Number.POSITIVE_INFINITY))).toEqual(
          progress,
        )
      }),
    )
  })

  it('never exceeds its limit, and is read back correctly', () => {
    fc.assert(
      fc.property(
        anyCase(300),
        fc.integer({ min: 60, max: METADATA_BYTES }),
        ({ offset, progress }, limit) => {
          const text = writeProgress(offset, progress, limit)
          expect(Buffer.byteLength(text)).toBeLessThanOrEqual(limit)
          const back = readProgress(offset, text)
          expect(back.openUpTo).toBe(progress.openUpTo)
          expect(back.finished).toEqual(progress.finished.slice(0, back.finished.length))
          for (const [at, note] of back.attempts) {
            const written = progress.attempts.get(at)
            expect(note.count).toBe(written?.count)
            // Handler names are omitted first if there is no room. Then handlers that succeeded run again.
            if (note.settledHandlers.length > 0) expect(note).toEqual(written)
          }
        },
      ),
      { numRuns: 200 },
    )
  })

  it('needs no metadata if there is none', () => {
    expect(writeProgress(5, { openUpTo: 5, finished: [], attempts: new Map() })).toBe('')
  })
})

describe("metadata that is not the bus's own", () => {
  const none = { openUpTo: 100, finished: [], attempts: new Map() }

  it.each([
    ['none', null],
    ['an empty one', ''],
    ["another client's", 'consumer-1 at 12:00'],
    ['of a later version', '{"v":2,"d":[0,5]}'],
    ['cut off', '{"v":1,"o":5,"d":[0'],
    ['of other types', '{"v":1,"o":"5","a":{"0":1},"d":"0,5"}'],
    ['with numbers that are none', '{"v":1,"o":-1,"a":[[-1,2],[0.5,1],[1e99,1],[null,1],5,null],"d":[-1,5]}'],
    ['with numbers beyond all offsets', '{"v":1,"o":9007199254740993,"d":[0,9007199254740993]}'],
    ['with a half range', '{"v":1,"d":[7]}'],
  ])('is %s, and contains no progress', (_what, metadata) => {
    expect(readProgress(100, metadata)).toEqual(none)
  })

  it('never fails, and never concerns offsets before the committed one', () => {
    const hostile = fc.oneof(
      fc.json(),
      fc.string(),
      anyCase(5).map(({ offset, progress }) => writeProgress(offset, progress)),
    )
    const asOurs = fc.record({ v: fc.constant(1), o: fc.jsonValue(), a: fc.jsonValue(), d: fc.jsonValue() })
    fc.assert(
      fc.property(
        fc.oneof(
          hostile,
          asOurs.map((value) => JSON.stringify(value)),
        ),
        (metadata) => {
          const { openUpTo, finished, attempts } = readProgress(100, metadata)
          expect(openUpTo).toBeGreaterThanOrEqual(100)
          for (const offset of [...attempts.keys(), ...finished.flat()])
            expect(offset).toBeGreaterThanOrEqual(100)
        },
      ),
      { numRuns: 500 },
    )
  })
})
