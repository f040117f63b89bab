import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { DeadLetterFilter } from '../../src/bus/index.ts'
import {
  DEAD_LETTER_KEYS,
  deadLetterLine,
  UsageError,
  writeDeadLetterLine,
} from '../../src/filter-line/index.ts'

const word = fc.string({ minLength: 1, unit: 'binary' })

it('reads the line that it writes', () => {
  const filter = fc.record(
    {
      consumerGroup: word,
      errorMessage: word,
      errorSignature: word,
      failedSince: fc.date({ min: new Date(0), max: new Date('2200-01-01'), noInvalidDate: true }),
      minReplays: fc.nat(),
    },
    { requiredKeys: ['minReplays'] },
  )
  fc.assert(
    fc.property(filter, (given: DeadLetterFilter) => {
      expect(deadLetterLine(writeDeadLetterLine(given))).toEqual(given)
    }),
    { numRuns: 300 },
  )
  expect(writeDeadLetterLine({ errorMessage: 'no "such" order' })).toBe('text:"no ""such"" order"')
})

it('reads each line as a filter, or refuses it with a sentence', () => {
  const words = [...DEAD_LETTER_KEYS.split(', '), '__proto__', 'constructor', ':', '"', '""', ' ', '2h', '.*']
  const piece = fc.oneof(fc.constantFrom(...words), fc.string({ unit: 'binary' }))
  const line = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''))
  fc.assert(
    fc.property(line, (given) => {
      try {
        expect(Object.getPrototypeOf(deadLetterLine(given))).toBe(Object.prototype)
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(UsageError)
      }
    }),
    { numRuns: 1000 },
  )
})
