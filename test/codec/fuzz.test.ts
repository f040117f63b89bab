import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CloudEventsCodec, DecodeError, DomainEvent, type EventCodec, JsonCodec } from '../../src/index.ts'
import { OrderCancelled } from '../support/order-events.ts'
import { capturedBody, changedObject, mutatedBytes } from '../wire/hostile-bodies.ts'
import { classForPython } from './python-events.ts'

const codecs: readonly (readonly [string, EventCodec])[] = [
  ['JsonCodec', new JsonCodec()],
  ["JsonCodec with payloadKeys 'snake_case'", new JsonCodec({ payloadKeys: 'snake_case' })],
  ['CloudEventsCodec', new CloudEventsCodec({ source: '/fuzz' })],
]
/** One class with a strict schema, one without any. */
const classFor = (eventType: string) =>
  eventType === 'OrderCancelled' ? OrderCancelled : classForPython(eventType)

const prototypeBefore = Reflect.ownKeys(Object.prototype)

/** Decodes, and if that works uses the event; nothing but a DecodeError may come out. */
function survives(codec: EventCodec, body: string | Uint8Array, headers = {}): boolean {
  try {
    const event = codec.decode({ headers, body }, classFor)
    expect(event).toBeInstanceOf(DomainEvent)
    JSON.stringify(event.withMetadata({ fuzzed: true }))
    expect(codec.encode(event).body).toBe(body)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
  }
  expect(Reflect.ownKeys(Object.prototype)).toEqual(prototypeBefore)
  return true
}

describe.each(codecs)('%s meets nothing worse than a DecodeError in', (_name, codec) => {
  it('random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (body) => survives(codec, body)))
  })

  it('random text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (body) => survives(codec, body)))
  })

  it('random JSON', () => {
    fc.assert(fc.property(fc.json(), (body) => survives(codec, body)))
  })

  it('captured messages with bytes changed or cut off', () => {
    fc.assert(
      fc.property(mutatedBytes, (body) => survives(codec, body)),
      { numRuns: 500 },
    )
  })

  it('captured messages with fields added or replaced', () => {
    fc.assert(
      fc.property(changedObject, (body) => survives(codec, body)),
      { numRuns: 500 },
    )
  })

  it('captured messages under random headers', () => {
    const headers = fc.dictionary(fc.constantFrom('event_type', 'event_id', 'x'), fc.string())

    fc.assert(fc.property(capturedBody, headers, (body, given) => survives(codec, body, given)))
  })
})

describe('JsonCodec round trip', () => {
  it('reads back any payload and metadata that an event can hold', () => {
    const codec = new JsonCodec()
    const key = fc.string().filter((name) => name !== '__proto__')
    // JSON has one zero, and no event a field called __proto__.
    const plainJson = (value: unknown): unknown =>
      JSON.parse(JSON.stringify(value), (name, item: unknown) => (name === '__proto__' ? undefined : item))
    const json = fc.dictionary(key, fc.jsonValue().map(plainJson))

    fc.assert(
      fc.property(fc.string({ minLength: 1 }), json, json, (reason, nested, metadata) => {
        const input = {
          aggregateId: 'Order-1',
          reason,
          ...(Object.keys(metadata).length > 0 ? { metadata } : {}),
        }
        const event = new OrderCancelled(input).withMetadata({ nested })

        const decoded = codec.decode(codec.encode(event), classFor)

        expect({ ...decoded }).toEqual({ ...event })
      }),
    )
  })
})
