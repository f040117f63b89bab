import { expect, it } from 'vitest'
import { z } from 'zod'
import {
  CloudEventsCodec,
  type DomainEvent,
  defineEvent,
  EventValidationError,
  firstVersion,
  InMemoryEventStore,
  JsonCodec,
} from '../../src/index.ts'
import { encodeRow } from '../../src/store/event-row.ts'

class Before extends defineEvent({
  type: 'Refunded',
  aggregateType: 'Order',
  schema: z.strictObject({ amount: z.number(), on: z.coerce.date() }),
}) {}

const upcasts = firstVersion(z.object({ amount: z.number(), on: z.string() })).to(
  2,
  ({ amount, ...rest }) => ({ cents: Math.round(amount * 100), ...rest }),
  ({ cents, ...rest }) => ({ amount: cents / 100, ...rest }),
)

const schema = z.object({ cents: z.int(), on: z.union([z.string(), z.date()]).pipe(z.coerce.date()) })
const definition = { type: 'Refunded', aggregateType: 'Order' }

class After extends defineEvent({ ...definition, schema, upcasts, publishAs: 1 }) {}

const on = new Date('2026-01-31T12:00:00Z')
const refunded = new After({ aggregateId: 'Order-1', cents: 1250, on })

it('leaves the instance in the current version', () => {
  expect(refunded).toMatchObject({ cents: 1250, on, eventVersion: 2 })
  expect(After.schemaVersion).toBe(2)
})

it.each([new JsonCodec(), new CloudEventsCodec({ source: '/orders' })])(
  'is read by consumers of both versions from a message of %o',
  (codec) => {
    const message = codec.encode(refunded)

    expect(codec.decode(message, () => Before)).toMatchObject({ amount: 12.5, on, eventVersion: 1 })
    expect(codec.decode(message, () => After)).toMatchObject({ cents: 1250, on, eventVersion: 2 })
  },
)

it('is written in the earlier version as a copy and as a copy of a received event, too', () => {
  const codec = new JsonCodec()
  const received = codec.decode(codec.encode(refunded), () => After)
  for (const copy of [refunded.withMetadata({ a: 1 }), received.withAggregateVersion(3)]) {
    expect(JSON.parse(JSON.stringify(copy))).toMatchObject({ event_version: 1, amount: 12.5 })
  }
})

it('is stored in the earlier version', () => {
  const { eventVersion, payload } = encodeRow(refunded)

  expect([eventVersion, JSON.parse(payload)]).toEqual([1, { amount: 12.5, on: '2026-01-31T12:00:00Z' }])
})

it('can be repeated and read in a store', async () => {
  const store = new InMemoryEventStore()
  store.registerEvents([After])
  const append = (events: readonly DomainEvent[]) =>
    store.appendEvents({ aggregateId: 'Order-1', aggregateType: 'Order', events, expectedVersion: 0 })

  expect(await append([refunded])).toEqual(await append([refunded]))
  expect((await store.getEvents('Order-1')).events).toEqual([refunded])
})

it('refuses at construction what cannot be read back', () => {
  const lossy = firstVersion(z.object({ n: z.number().max(9) })).to(
    2,
    ({ n }) => ({ count: n }),
    ({ count }) => ({ n: count }),
  )
  class Counted extends defineEvent({
    type: 'Counted',
    aggregateType: 'A',
    schema: z.object({ count: z.number() }),
    upcasts: lossy,
    publishAs: 1,
  }) {}

  expect(new Counted({ aggregateId: 'a', count: 9 }).count).toBe(9)
  expect(() => new Counted({ aggregateId: 'a', count: 10 })).toThrow(
    'Counted is not valid: cannot be read back from version 1, in which it is written.',
  )
})

it('names a way back that fails', () => {
  class Failing extends defineEvent<{ readonly count: number }>()({
    type: 'Failing',
    aggregateType: 'A',
    publishAs: 1,
    upcasts: firstVersion<{ n: number }>().to(
      2,
      ({ n }) => ({ count: n }),
      () => {
        throw new Error('no')
      },
    ),
  }) {}

  expect(() => new Failing({ aggregateId: 'a', count: 1 })).toThrow(EventValidationError)
  expect(() => new Failing({ aggregateId: 'a', count: 1 })).toThrow(/downcast from version 2 to 1 failed/)
})

it.each([0, 3, 1.5, '1'])('refuses the version %o, which the way back does not reach', (publishAs) => {
  // The compiler refuses some of these.
  const wrong = { ...definition, schema, upcasts, publishAs } as never

  expect(() => defineEvent(wrong)).toThrow(/publishAs of Refunded must be a version from 1 to 2/)
})

it('refuses a version below a step without a way back', () => {
  const chain = firstVersion<{ n: number }>()
    .to(2, ({ n }) => ({ count: n }))
    .to(
      3,
      (v2) => ({ ...v2, unit: 'piece' }),
      ({ count }) => ({ count }),
    )
  const define = (publishAs: number) =>
    defineEvent<{ readonly count: number; readonly unit: string }>()({
      ...definition,
      upcasts: chain,
      publishAs,
    })

  expect(() => define(1)).toThrow(/must be a version from 2 to 3/)
  const event = new (define(2))({ aggregateId: 'a', count: 1, unit: 'kg' })
  expect(JSON.parse(JSON.stringify(event))).toMatchObject({ event_version: 2, count: 1 })
})
