import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { z } from 'zod'
import {
  asyncApiOf,
  contractOf,
  DecodeError,
  defineEvent,
  type EventClass,
  firstVersion,
  GenericEvent,
  JsonCodec,
} from '../../src/index.ts'

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
const options = { title: 'Orders', version: '1.0.0', channels: [{ bus: 'kafka', name: 'shop' }] } as const

/** The message of an event class, as the document describes it. */
function messageOf(eventClass: EventClass) {
  // The document is JSON.
  const document = JSON.parse(JSON.stringify(asyncApiOf(contractOf([eventClass]), options)))
  return document.components.messages[eventClass.eventType]
}

const some = (...values: readonly unknown[]) => fc.constantFrom(...values)
const maybe = (arbitrary: fc.Arbitrary<unknown>) => fc.option(arbitrary, { nil: undefined, freq: 9 })

const placed = fc.record({
  total: maybe(fc.oneof(fc.integer({ min: -5, max: 2000 }), some('1', 1.5, null))),
  count: maybe(fc.oneof(fc.integer({ min: -1, max: 50 }), some('1', 1.5))),
  state: maybe(some('open', 'paid', 'lost', 3)),
  note: some(undefined, null, '', 'short', 'too long', 7),
  lines: maybe(fc.array(some({ sku: 'a' }, { sku: 'b', more: 1 }, { sku: 1 }, {}), { maxLength: 4 })),
})

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
    expect(error).toBeInstanceOf(DecodeError)
    return false
  }
}

it.each<[string, EventClass, fc.Arbitrary<object>]>([
  ['an object', Placed, placed],
  ['a union', Changed, changed],
])('describes exactly the messages that the codec accepts: %s', (_what, eventClass, payloads) => {
  const ajv = new Ajv2020({ strict: false, formats: { 'date-time': true } })
  const validate = ajv.compile(messageOf(eventClass).payload)
  const seen = { accepted: 0, refused: 0 }
  const property = fc.property(payloads, (payload) => {
    const body = bodyOf(eventClass, payload)
    const isAccepted = isDecoded(eventClass, body)
    seen[isAccepted ? 'accepted' : 'refused'] += 1
    expect(validate(JSON.parse(body))).toBe(isAccepted)
  })
  fc.assert(property, { numRuns: 5000 })

  expect(Math.min(seen.accepted, seen.refused)).toBeGreaterThan(50)
})

it('describes the version that is written', () => {
  const rolled = defineEvent({
    type: 'Moved',
    aggregateType: 'Customer',
    schema: z.object({ city: z.string() }),
    publishAs: 1,
    upcasts: firstVersion(z.object({ town: z.string() })).to(
      2,
      ({ town }) => ({ city: town }),
      ({ city }) => ({ town: city }),
    ),
  })
  const [, fixed, payload] = messageOf(rolled).payload.allOf

  expect(fixed.properties.event_version).toEqual({ const: 1 })
  expect(payload).toMatchObject({ properties: { town: { type: 'string' } }, required: ['town'] })
})

it('keeps no reference that the document could not resolve', () => {
  const tree: z.ZodObject = z.object({ name: z.string(), children: z.array(z.lazy(() => tree)).optional() })
  const message = messageOf(defineEvent({ type: 'Grown', aggregateType: 'Tree', schema: tree as never }))

  expect(JSON.stringify(message)).not.toContain('$ref')
  expect(message.payload.allOf[2].properties.name).toEqual({ type: 'string' })
})
