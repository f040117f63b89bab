import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  CloudEventsCodec,
  DecodeError,
  defineEvent,
  EventRegistry,
  firstVersion,
  JsonCodec,
  Upcasts,
} from '../../src/index.ts'
import { encodeRow, RowDecoder } from '../../src/store/event-row.ts'

const named = { type: 'OrderCreated', aggregateType: 'Order' }

const V1 = defineEvent({ ...named, schema: z.object({ customer: z.string() }) })
const V2 = defineEvent({ ...named, schemaVersion: 2, schema: z.object({ customerId: z.string() }) })
const upcasts = firstVersion(z.object({ customer: z.string() }))
  .to(2, ({ customer }) => ({ customerId: customer }))
  .to(3, (v2) => ({ ...v2, currency: 'EUR' }))
class V3 extends defineEvent({
  ...named,
  schema: z.object({ customerId: z.string(), currency: z.string() }),
  upcasts,
}) {}

const old = [
  new V1({ aggregateId: 'Order-1', customer: 'Ada' }),
  new V2({ aggregateId: 'Order-1', customerId: 'Ada' }),
]

for (const codec of [new JsonCodec(), new CloudEventsCodec({ source: '/orders' })]) {
  describe(`${codec.constructor.name}, on events of earlier versions`, () => {
    it('decodes each to an instance of the current class', () => {
      for (const event of old) {
        const decoded = codec.decode(codec.encode(event), () => V3)

        expect(decoded).toBeInstanceOf(V3)
        expect(decoded).toMatchObject({ customerId: 'Ada', currency: 'EUR', eventVersion: 3 })
        expect(decoded.eventId).toBe(event.eventId)
      }
    })

    it('passes a decoded event on as it was written', () => {
      for (const event of old) {
        const written = codec.encode(event)

        expect(codec.encode(codec.decode(written, () => V3)).body).toBe(written.body)
      }
    })

    it('writes a changed copy in the current version', () => {
      const decoded = codec.decode(codec.encode(V1event()), () => V3).withMetadata({ read: true })

      const again = codec.decode(codec.encode(decoded), () => V3)

      expect(again).toMatchObject({ customerId: 'Ada', currency: 'EUR', eventVersion: 3 })
    })

    it('reports an event of a newer version that the schema refuses with both versions', () => {
      const message = codec.encode(new V2({ aggregateId: 'Order-1', customerId: 'Ada' }))

      const decode = () => codec.decode(message, () => V1)

      expect(decode).toThrow(DecodeError)
      expect(decode).toThrow(/OrderCreated of version 2, but this process knows it up to version 1/)
    })
  })
}

function V1event() {
  return new V1({ aggregateId: 'Order-1', customer: 'Ada' })
}

describe('the rows of a durable store', () => {
  it('become instances of the current class, and stay as they were written', () => {
    const registry = new EventRegistry()
    registry.register(V3)
    for (const event of old) {
      const row = { ...encodeRow(event), aggregateVersion: 1, position: 1, storedAt: new Date() }
      const before = structuredClone(row)

      const stored = new RowDecoder(registry).decode(row)

      expect(stored.fault).toBeUndefined()
      expect(stored.event).toBeInstanceOf(V3)
      expect(stored.event).toMatchObject({ customerId: 'Ada', currency: 'EUR', eventVersion: 3 })
      expect(row).toEqual(before)
    }
  })
})

describe('a definition with upcasts', () => {
  it('takes its version from them', () => {
    expect(V3.schemaVersion).toBe(3)
  })

  it('is refused if a version is missing in between', () => {
    const chain = firstVersion<{ a: string }>()
    expect(() => Reflect.apply(chain.to, chain, [3, () => ({})])).toThrow(
      'Upcasts: the step after version 1 must lead to version 2, got 3. Add the missing step.',
    )
  })

  it('is refused if they end before or after its version', () => {
    for (const schemaVersion of [1, 2, 4]) {
      expect(() => defineEvent({ ...named, schemaVersion, schema: z.looseObject({}), upcasts })).toThrow(
        `defineEvent: upcasts of OrderCreated must end with schemaVersion ${schemaVersion}, but end with version 3.`,
      )
    }
  })

  it('is refused without a chain, a function or a schema', () => {
    const define = (chain: unknown) => Reflect.apply(defineEvent, undefined, [{ ...named, upcasts: chain }])
    expect(() => define({ 1: () => ({}) })).toThrow(/upcasts of OrderCreated must start with firstVersion/)
    expect(() => Reflect.apply(firstVersion, undefined, ['v1'])).toThrow(/must be a Standard Schema/)
    const chain = firstVersion()
    expect(() => Reflect.apply(chain.to, chain, [2, 'step'])).toThrow(/must be a function/)
  })

  it('works without a schema', () => {
    const Shipped = defineEvent<{ code: string }>()({
      ...named,
      upcasts: firstVersion<{ tracking: string }>().to(2, ({ tracking }) => ({ code: tracking })),
    })
    const V1 = defineEvent<{ tracking: string }>()(named)
    const codec = new JsonCodec()

    const decoded = codec.decode(codec.encode(new V1({ aggregateId: 'a', tracking: 'x' })), () => Shipped)

    expect(decoded).toMatchObject({ code: 'x', eventVersion: 2 })
  })

  it('checks the result of the last step with the schema', () => {
    const Strict = defineEvent({
      ...named,
      schema: z.object({ n: z.number().max(5) }),
      upcasts: firstVersion<{ customer: string }>().to(2, () => ({ n: 6 })),
    })

    expect(() => decodeV1(Strict)).toThrow(/OrderCreated is not valid: n/)
  })

  it('names the step that throws, is asynchronous or returns no object', () => {
    const steps: [() => Record<string, unknown>, string][] = [
      [() => Promise.resolve({}) as never, 'is asynchronous; it must return the payload'],
      [() => [] as never, 'must return an object, got an array'],
      [
        () => {
          throw new Error('secret 4711')
        },
        'failed',
      ],
    ]
    for (const [step, rule] of steps) {
      const Broken = defineEvent({
        ...named,
        schema: z.looseObject({}),
        upcasts: firstVersion<{ customer: string }>().to(2, step),
      })
      const decode = () => decodeV1(Broken)

      expect(decode).toThrow(`OrderCreated is not valid: the upcast from version 1 to 2 ${rule}`)
      expect(decode).not.toThrow(/4711/)
    }
  })
})

function decodeV1(eventClass: typeof V3 | Parameters<EventRegistry['register']>[0]) {
  const codec = new JsonCodec()
  return codec.decode(codec.encode(V1event()), () => eventClass)
}

it('gives the same payload, whether a chain runs step by step or at once', () => {
  for (let length = 2; length <= 20; length += 1) {
    const add = (version: number) => (payload: object) => ({ ...payload, [`v${version}`]: version })
    let chain = new Upcasts<object>(undefined, [])
    for (let version = 2; version <= length; version += 1) chain = chain.to(version, add(version))
    let stepwise = { start: length }
    for (let version = 2; version <= length; version += 1) stepwise = { ...stepwise, ...add(version)({}) }

    for (let from = 1; from < length; from += 1) {
      let partial: Record<string, unknown> = { start: length }
      for (let version = 2; version <= from; version += 1) partial = { ...partial, [`v${version}`]: version }
      expect(chain.upcast('Any', partial, from)).toEqual(stepwise)
    }
  }
})
