import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { z } from 'zod'
import { DecodeError, defineEvent, type EventClass, GenericEvent, JsonCodec } from '../../src/index.ts'

class Placed extends defineEvent({
  type: 'order.placed',
  aggregateType: 'Order',
  schema: z.object({
    total: z.number().max(1000),
    count: z.int().min(0),
    state: z.enum(['open', 'paid']),
    note: z.string().max(5).nullable().optional(),
    lines: z.array(z.object({ sku: z.string() })).max(3),
  }),
}) {}

class Changed extends defineEvent({
  type: 'order.changed',
  aggregateType: 'Order',
  schema: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('a'), text: z.string() }),
    z.object({ kind: z.literal('b'), flag: z.boolean() }),
  ]),
}) {}

const codec = new JsonCodec()
const some = (...values: readonly unknown[]) => fc.constantFrom(...values)
const maybe = (arbitrary: fc.Arbitrary<unknown>) => fc.option(arbitrary, { nil: undefined, freq: 9 })

const rightlyPlaced = fc.record({
  total: fc.integer({ min: 0, max: 1000 }),
  count: fc.nat(50),
  state: some('open', 'paid'),
  note: some(undefined, null, '', 'short'),
  lines: fc.array(some({ sku: 'a' }, { sku: 'b', more: 1 }), { maxLength: 3 }),
})

const anyhowPlaced = fc.record({
  total: maybe(fc.oneof(fc.integer({ min: -5, max: 2000 }), some('1', 1.5, null))),
  count: maybe(fc.oneof(fc.integer({ min: -1, max: 50 }), some('1', 1.5))),
  state: maybe(some('open', 'paid', 'lost', 3)),
  note: some(undefined, null, '', 'short', 'too long', 7),
  lines: maybe(fc.array(some({ sku: 'a' }, { sku: 'b', more: 1 }, { sku: 1 }, {}), { maxLength: 4 })),
})

const placed = fc.oneof(rightlyPlaced, anyhowPlaced)

const changed = fc.record({
  kind: maybe(some('a', 'b', 'c')),
  text: maybe(some('x', 1)),
  flag: maybe(some(true, 'no')),
})

/** The body of a message, which any producer might have written. */
function bodyOf({ eventType, aggregateType }: EventClass, payload: object): string {
  const data = JSON.parse(JSON.stringify(payload))
  return String(codec.encode(new GenericEvent({ eventType, aggregateType, aggregateId: 'a', data })).body)
}

function isDecoded(eventClass: EventClass, body: string): boolean {
  try {
    return codec.decode({ headers: {}, body }, () => eventClass) instanceof eventClass
  } catch (error) {
    if (error instanceof DecodeError) return false
    throw error
  }
}

/** Event classes whose messages a document describes, and payloads, of which many are right. */
export const DESCRIBED: readonly [string, EventClass, fc.Arbitrary<object>][] = [
  ['an object', Placed, placed],
  ['a union', Changed, changed],
]

const PER_CLASS = 5000

/**
 * Compares a JSON Schema of the messages with what the codec accepts, for 5,000 payloads.
 * @returns how many of them the codec accepted and refused.
 * @throws Error for a message on which both differ.
 */
export function compareWithCodec(schema: object, eventClass: EventClass, payloads: fc.Arbitrary<object>) {
  const validate = new Ajv2020({ strict: false, formats: { 'date-time': true } }).compile(schema)
  const seen = { accepted: 0, refused: 0 }
  const property = fc.property(payloads, (payload) => {
    const body = bodyOf(eventClass, payload)
    const isAccepted = isDecoded(eventClass, body)
    seen[isAccepted ? 'accepted' : 'refused'] += 1
    return validate(JSON.parse(body)) === isAccepted
  })
  fc.assert(property, { numRuns: PER_CLASS })
  return seen
}
