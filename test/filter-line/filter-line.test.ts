import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { DeadLetterFilter } from '../../src/bus/index.ts'
import { deadLetterLine, eventLine, UsageError, writeDeadLetterLine } from '../../src/filter-line/index.ts'

const words = [
  'group',
  'type',
  'since',
  'before',
  'text',
  'error',
  'id',
  'min-replays',
  '__proto__',
  'constructor',
  ':',
  '"',
  ' ',
  '(a+)+$',
  '1h',
  'since:999999999999d',
  '\u0000',
  '..',
]
const lines = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc
    .array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 8 })), { maxLength: 12 })
    .map((parts) => parts.join('')),
)

test.each([
  ['dead letters', deadLetterLine],
  ['events', eventLine],
])(
  'any line of a filter of %s is a filter with known fields, or is refused with a sentence',
  (_name, read) => {
    const known =
      /^(?:consumerGroup|handlerName|eventTypes?|aggregate(?:Id|Type)|eventId|reason|error(?:Name|Message|Signature)|failed(?:Since|Before)|m(?:in|ax)Replays|(?:correlation|causation|tenant)Id|occurred(?:Since|Before)|text)$/
    fc.assert(
      fc.property(lines, (line) => {
        try {
          for (const [field, value] of Object.entries(read(line))) {
            expect(field).toMatch(known)
            expect(value).not.toBeInstanceOf(RegExp)
            if (value instanceof Date) expect(value.getTime()).not.toBeNaN()
          }
        } catch (thrown) {
          if (!(thrown instanceof UsageError)) throw thrown
        }
      }),
      { numRuns: 1000 },
    )
  },
)

const word = fc.string({ minLength: 1, unit: 'binary' })

test('reads the line that it writes', () => {
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
