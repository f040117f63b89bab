import { Script } from 'node:vm'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  CloudEventsCodec,
  type DomainEvent,
  defineEvent,
  type EventClass,
  type EventCodec,
  GenericEvent,
  InMemoryEventStore,
  JsonCodec,
} from '../../src/index.ts'

const named = { type: 'Noted', aggregateType: 'Note' } as const
const codecs: readonly [string, EventCodec][] = [
  ['JSON', new JsonCodec()],
  ['CloudEvents', new CloudEventsCodec({ source: '/notes' })],
]

/** The event as a consumer decodes it. */
function readBack<E extends DomainEvent>(event: E, codec: EventCodec = new JsonCodec()): E {
  // The codec makes an instance of the class that it is given.
  return codec.decode(codec.encode(event), () => event.constructor as EventClass) as E
}

describe.each(codecs)('a payload with integer-like keys, written as %s', (_name, codec) => {
  class StockCounted extends defineEvent({ ...named, schema: z.record(z.string(), z.number()) }) {}
  const quantities = { apples: 3, 2024: 7, 17: 1 }
  const counted = () => new StockCounted({ aggregateId: 's1', ...quantities })

  it('is unchanged after encoding and decoding, and so are its copies', () => {
    for (const event of [
      counted(),
      counted().withAggregateVersion(5),
      counted().withMetadata({ a: 1 }),
      readBack(counted(), codec).withMetadata({ a: 1 }),
    ]) {
      expect(readBack(event, codec)).toMatchObject(quantities)
    }
  })

  it('is unchanged after it is stored and read', async () => {
    const store = new InMemoryEventStore()
    await store.appendEvents({
      aggregateId: 's1',
      aggregateType: 'Note',
      events: [counted().withAggregateVersion(9)],
      expectedVersion: 0,
    })

    expect((await store.getEvents('s1')).events[0]).toMatchObject(quantities)
  })
})

describe('an event is refused at once, with the path, if its payload holds', () => {
  const Noted = defineEvent({ ...named, schema: z.object({ value: z.unknown() }) })
  const construct = (value: unknown) => () => new Noted({ aggregateId: '1', value })

  it.each([
    ['undefined in an array', ['a', undefined], /value\[1\]: must not be undefined/],
    ['a hole in an array', Object.assign([1], { length: 2 }), /value\[1\]: must not be undefined/],
    [
      'a toJSON that returns nothing',
      { a: instance(undefined) },
      /value\.a: has a toJSON that returns undefined/,
    ],
    ['a toJSON that returns a function', instance(() => 1), /value: must not be a function/],
    [
      'a toJSON that returns an instance',
      instance(instance('x')),
      /value: has a toJSON that returns an instance/,
    ],
    ['NaN in what toJSON returns', instance({ n: Number.NaN }), /value\.n: must be a finite number/],
  ])('%s', (_what, value, message) => {
    expect(construct(value)).toThrow(message)
  })

  it.each([
    ['a date', new Date(0), /value: is a Date, which becomes text in JSON; give Noted a schema/],
    ['a small bigint', { deep: [5n] }, /value\.deep\[0\]: is a bigint that becomes a number in JSON/],
    ['an instance', instance('x'), /value: is an instance of Money, which becomes plain data in JSON/],
  ])('%s, and it has no schema that reads it back', (_what, value, message) => {
    const Trusted = defineEvent<{ value: unknown }>()(named)

    expect(() => new Trusted({ aggregateId: '1', value })).toThrow(message)
  })

  it('a date that its schema does not read back from text', () => {
    const Dated = defineEvent({ ...named, schema: z.object({ at: z.date() }) })

    expect(() => new Dated({ aggregateId: '1', at: new Date(0) })).toThrow(
      /at: cannot be decoded: the schema refuses its own JSON/,
    )
  })

  it('a value that a transform would change again at each consumer', () => {
    const InCents = defineEvent({
      ...named,
      schema: z.object({ lines: z.array(z.object({ price: z.number().transform((euro) => euro * 100) })) }),
    })

    expect(() => new InCents({ aggregateId: '1', lines: [{ price: 12.5 }] })).toThrow(
      /lines\[0\]\.price: is changed by the schema each time the event is decoded/,
    )
    expect(new InCents({ aggregateId: '1', lines: [{ price: 0 }] }).lines[0]?.price).toBe(0)
  })
})

describe('an event is as every consumer will see it', () => {
  const detailed = z.object({ note: z.string().optional(), size: z.object({ m: z.number().optional() }) })
  it.each([
    ['with', defineEvent({ ...named, schema: detailed })],
    ['without', defineEvent<{ note?: string | undefined; size: { m?: number | undefined } }>()(named)],
  ])('%s a schema: an undefined field is absent', (_name, Detailed) => {
    const event = new Detailed({ aggregateId: '1', note: undefined, size: { m: undefined } })
    for (const one of [event, readBack(event), event.withAggregateVersion(2)]) {
      expect('note' in one).toBe(false)
      expect(Object.keys(one.size)).toEqual([])
    }
  })

  it('is refused if its schema accepts an undefined field, but not an absent one', () => {
    const schema: StandardSchemaV1<{ note: unknown }> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value) =>
          typeof value === 'object' && value !== null && 'note' in value
            ? { value: { note: value.note } }
            : { issues: [{ path: ['note'], message: 'is missing' }] },
      },
    }
    const Noted = defineEvent({ ...named, schema })
    expect(() => new Noted({ aggregateId: '1', note: undefined })).toThrow(
      /note: cannot be decoded.*is missing/,
    )
  })

  it('with defaults, coerced dates and big integers', () => {
    class Placed extends defineEvent({
      ...named,
      schema: z.object({ at: z.coerce.date(), currency: z.string().default('EUR'), total: z.bigint() }),
    }) {}

    const event = new Placed({ aggregateId: '1', at: new Date(0), total: 2n ** 60n })

    expect(event).toMatchObject({ at: new Date(0), currency: 'EUR', total: 2n ** 60n })
    expect(readBack(event)).toEqual(event)
  })

  it('whatever the caller does to the instance that it was made of', () => {
    const Noted = defineEvent({ ...named, schema: z.object({ total: z.any() }) })
    const money = instance(7)
    const event = new Noted({ aggregateId: '1', total: money, metadata: { total: money } })

    money.json = 8

    expect(readBack(event)).toMatchObject({ total: 7, metadata: { total: 7 } })
    expect(event).toMatchObject({ total: 7, metadata: { total: 7 } })
    expect(readBack(event.withAggregateVersion(2)).total).toBe(7)
  })

  it('with an instance of the class that its schema rebuilds, unchanged when that changes', () => {
    class Paid extends defineEvent({
      ...named,
      schema: z.object({
        total: z.union([z.instanceof(Money), z.number().transform((amount) => instance(amount))]),
      }),
    }) {}

    const event = new Paid({ aggregateId: '1', total: 5 })
    const given = instance(6)
    const other = new Paid({ aggregateId: '1', total: given })
    other.total.json = 9

    expect(event.total).toBeInstanceOf(Money)
    expect(readBack(event).total).toEqual(event.total)
    expect(other.total).not.toBe(given)
    expect(readBack(other).total.json).toBe(6)
    expect(readBack(readBack(other).withMetadata({ a: 1 })).total.json).toBe(6)
  })

  it('with zero for negative zero', () => {
    const Noted = defineEvent<{ n: number }>()(named)

    const event = new Noted({ aggregateId: '1', n: -0 })

    expect(Object.is(event.n, 0)).toBe(true)
    expect(readBack(event)).toEqual(event)
  })

  it('for any JSON data', () => {
    const Noted = defineEvent({ ...named, schema: z.object({ value: z.unknown() }) })
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        fc.pre(!JSON.stringify(value).includes('__proto__'))
        const event = new Noted({ aggregateId: '1', value })

        expect(readBack(event).value).toEqual(event.value)
      }),
    )
  })

  it('with objects, arrays and dates of another realm, which it copies', () => {
    class Placed extends defineEvent({
      ...named,
      schema: z.object({ at: z.coerce.date(), lines: z.any() }),
    }) {}
    // Values as jest and vm pass them: created by the constructors of another realm.
    const foreign = new Script('({ at: new Date(0), lines: [{ sku: "a" }] })').runInNewContext()

    const event = new Placed({ aggregateId: '1', occurredAt: foreign.at, ...foreign })
    foreign.at.setTime(5)
    foreign.lines[0].sku = 'b'

    expect(event).toMatchObject({ at: new Date(0), occurredAt: new Date(0), lines: [{ sku: 'a' }] })
    expect(
      new GenericEvent({ eventType: 'X', aggregateType: 'Y', aggregateId: '1', data: foreign }).data,
    ).toEqual({
      at: '1970-01-01T00:00:00.005000Z',
      lines: [{ sku: 'b' }],
    })
  })

  it('with dates that date libraries can copy and set', () => {
    const { occurredAt } = new (defineEvent<{ n: number }>()(named))({ aggregateId: '1', n: 1 })
    // As date-fns and others do: the library knows the constructor only by the date.
    const Constructor = occurredAt.constructor as DateConstructor

    const copy = new Constructor(occurredAt)
    copy.setTime(0)

    expect(copy).toEqual(new Date(0))
    expect(() => occurredAt.setTime(0)).toThrow(/immutable/)
  })
})

describe('a class with a constructor of its own', () => {
  class OrderPlaced extends defineEvent({ ...named, schema: z.object({ total: z.number() }) }) {
    constructor(order: { readonly id: string; readonly prices: readonly number[] }) {
      super({ aggregateId: order.id, total: order.prices.reduce((sum, price) => sum + price, 0) })
    }

    get isFree(): boolean {
      return this.total === 0
    }
  }
  class Defaulting extends defineEvent({ ...named, schema: z.object({ total: z.number() }) }) {
    static runs = 0
    constructor(input: { readonly aggregateId: string; readonly total?: number }) {
      Defaulting.runs += 1
      super({ ...input, total: input.total ?? 0 })
    }
  }

  it('is decoded and copied without running it', () => {
    const event = new OrderPlaced({ id: 'o1', prices: [2, 3] })

    for (const same of [readBack(event), event.withMetadata({ a: 1 }), event.withCausation(event)]) {
      expect(same).toBeInstanceOf(OrderPlaced)
      expect(same).toMatchObject({ eventId: event.eventId, total: 5, isFree: false })
    }
  })

  it('does not get the chance to change what was decoded', () => {
    const event = new Defaulting({ aggregateId: '1', total: 5 })
    const runs = Defaulting.runs

    expect(readBack(event)).toMatchObject({ eventId: event.eventId, total: 5 })
    expect(event.withMetadata({ a: 1 })).toMatchObject({ eventId: event.eventId, total: 5 })
    expect(Defaulting.runs).toBe(runs)
  })

  it('goes through a store that numbers its events', async () => {
    const store = new InMemoryEventStore()
    const append = (expectedVersion: number) =>
      store.appendEvents({
        aggregateId: 'o1',
        aggregateType: 'Note',
        events: [new OrderPlaced({ id: 'o1', prices: [1] })],
        expectedVersion,
      })

    await append(0)
    await append(1)

    expect((await store.getEvents('o1')).events.map(({ aggregateVersion }) => aggregateVersion)).toEqual([
      1, 2,
    ])
  })
})

class Money {
  json: unknown
  constructor(json: unknown) {
    this.json = json
  }
  toJSON(): unknown {
    return this.json
  }
}

function instance(json: unknown): Money {
  return new Money(json)
}
