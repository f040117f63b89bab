import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { PassedOnEvent } from '../../src/events/passed-on-event.ts'
import { defineEvent, EventRegistry, firstVersion, GenericEvent, JsonCodec } from '../../src/index.ts'
import { encodeRow, RowDecoder, type StoredRow } from '../../src/store/event-row.ts'
import { decodedEvent } from '../../src/store/passed-on.ts'

class Noted extends defineEvent<{ readonly data: unknown }>()({ type: 'Noted', aggregateType: 'Note' }) {}

const registry = new EventRegistry()
registry.register(Noted)

const rowOf = (event: Parameters<typeof encodeRow>[0], changes: Partial<StoredRow> = {}): StoredRow => ({
  ...encodeRow(event),
  aggregateVersion: event.aggregateVersion,
  position: 7,
  storedAt: new Date(),
  ...changes,
})

async function passedOn(row: StoredRow, known = registry, columns: 'json' | 'text' = 'text') {
  const [stored] = await new RowDecoder(known, columns).decodeAll([row], true)
  if (stored === undefined) throw new Error('nothing was decoded')
  return stored
}

const decodedOf = (row: StoredRow, known = registry) => new RowDecoder(known).decode(row).event

const envelope = {
  tenantId: 'a "tenant"',
  actorId: 'ä\n',
  causationId: 'c',
  correlationId: 'd',
  occurredAt: new Date('2026-01-02T03:04:05.678Z'),
  aggregateVersion: 12,
}

describe('an event that a relay passes on', () => {
  it('is the message that the codec writes for the decoded event, for any payload and metadata', async () => {
    const names = fc.oneof(
      fc.string(),
      fc.constantFrom('event_type', 'metadata', '"', '\\u0061', 'aggregate_id'),
    )
    const data = fc.jsonValue({ maxDepth: 3 })
    await fc.assert(
      fc.asyncProperty(
        data,
        fc.dictionary(names, data, { noNullPrototype: true }),
        async (payload, notes) => {
          fc.pre(!JSON.stringify([payload, notes]).includes('__proto__')) // which no event may have
          const event = new Noted({ aggregateId: 'Note-1', data: payload, metadata: notes, ...envelope })
          const row = rowOf(event)
          for (const columns of ['json', 'text'] as const) {
            const { event: own } = await passedOn(row, registry, columns)
            expect(new JsonCodec().encode(own)).toEqual(new JsonCodec().encode(decodedOf(row)))
            expect(decodedEvent(own)).toEqual(decodedOf(row))
          }
        },
      ),
      { numRuns: 50 },
    )
  })

  it('is not decoded, with or without metadata, payload and a class', async () => {
    const bare = new GenericEvent({ eventType: 'Bare', aggregateType: 'Note', aggregateId: 'b', data: {} })
    const noted = new Noted({
      aggregateId: 'a',
      data: { n: 1, big: 12345678901234567890n },
      metadata: { m: 1 },
    })
    for (const event of [bare, noted]) {
      const row = rowOf(event)
      const { event: own, position } = await passedOn(row)

      expect(own).toBeInstanceOf(PassedOnEvent)
      expect(position).toBe(7)
      expect(new JsonCodec().encode(own)).toEqual(new JsonCodec().encode(decodedOf(row)))
      expect(() => JSON.stringify(own)).toThrow('is not decoded')
    }
  })

  const names = { type: 'Renamed', aggregateType: 'Letter' } as const
  const upcasts = firstVersion<{ a: string }>().to(
    2,
    ({ a }) => ({ b: a }),
    ({ b }) => ({ a: b }),
  )
  const schema = z.object({ b: z.string() })
  const old = (changes: Partial<StoredRow>) =>
    rowOf(new GenericEvent({ eventType: 'Renamed', aggregateType: 'Letter', aggregateId: 'a', data: {} }), {
      payload: '{"a":"x"}',
      ...changes,
    })
  it.each([
    ['of an earlier version', defineEvent({ ...names, upcasts, schema }), old({})],
    [
      'that is written in an earlier version',
      defineEvent({ ...names, upcasts, schema, publishAs: 1 }),
      old({ payload: '{"b":"x"}', eventVersion: 2 }),
    ],
    ['with an alias', defineEvent<object>()({ ...names, typeAliases: ['Old'] }), old({ eventType: 'Old' })],
    [
      'with an alias of its aggregate type',
      defineEvent<object>()({ ...names, aggregateTypeAliases: ['Note'] }),
      old({ aggregateType: 'Note' }),
    ],
    ['with a field named as one of the envelope', undefined, old({ payload: '{"event_id":1}' })],
    ['with an escaped name', undefined, old({ payload: '{"\\u0065vent_id":1}' })],
    ['with a prototype', undefined, old({ payload: '{"__proto__":{}}' })],
    ['with white space', undefined, old({ payload: '{ }' })],
    ['that is not an object', undefined, old({ payload: '[1]' })],
    ['that is not JSON', undefined, old({ payload: '{"a}' })],
    ['whose metadata is not JSON', undefined, old({ metadata: '{"a}' })],
    ['without a type', undefined, old({ eventType: '' })],
    ['with an impossible time', undefined, old({ occurredAt: 'soon' })],
    ['with an impossible version', undefined, old({ aggregateVersion: 0 })],
  ])('is decoded if it is one %s', async (_what, eventClass, row) => {
    const known = new EventRegistry()
    if (eventClass !== undefined) known.register(eventClass)
    const stored = await passedOn(row, known)

    expect(stored.event).not.toBeInstanceOf(PassedOnEvent)
    expect(stored).toEqual(new RowDecoder(known).decode(row))
  })
})
