import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import {
  CloudEventsCodec,
  type DomainEvent,
  defineEvent,
  type EventClass,
  type EventCodec,
  InMemoryEventBus,
  InMemoryEventStore,
  JsonCodec,
} from '../../src/index.ts'
import { SqliteStores } from '../../src/sqlite/index.ts'

class Decimal {
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }
  toJSON(): string {
    return this.#text
  }
}

const names = { type: 'Noted', aggregateType: 'Note' } as const
const aggregateId = 'Note-1'
const Method = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('card'), lastFour: z.string() }),
  z.object({ kind: z.literal('cash'), till: z.int() }),
])
const decimal = z.union([z.instanceof(Decimal), z.string().transform((text) => new Decimal(text))])
const NoteId = z.string().brand<'NoteId'>()
const anyBigint = z.union([z.bigint(), z.number().transform(BigInt)])

const UnionEvent = defineEvent({ ...names, schema: Method })
const PlainUnion = defineEvent({
  ...names,
  schema: z.union([z.object({ by: z.string() }), z.object({ at: z.number() })]),
})
const Recorded = defineEvent({ ...names, schema: z.record(z.string(), z.number()) })
const Branded = defineEvent({ ...names, schema: z.object({ noteId: NoteId, others: z.array(NoteId) }) })
const Dated = defineEvent({ ...names, schema: z.object({ on: z.coerce.date() }) })
const Large = defineEvent({ ...names, schema: z.object({ units: z.coerce.bigint(), more: anyBigint }) })
const Charged = defineEvent({ ...names, schema: z.object({ amount: decimal }) })
const Trimmed = defineEvent({ ...names, schema: z.object({ text: z.string().trim().toLowerCase() }) })

/** An event of each kind of payload, and what a consumer reads from it. */
const KINDS: readonly [string, DomainEvent, object][] = [
  [
    'a discriminated union',
    new UnionEvent({ aggregateId, kind: 'card', lastFour: '1234' }),
    { kind: 'card', lastFour: '1234' },
  ],
  ['a union', new PlainUnion({ aggregateId, at: 7 }), { at: 7 }],
  ['a record', new Recorded({ aggregateId, apples: 3, 2024: 7 }), { apples: 3, 2024: 7 }],
  [
    'branded types',
    new Branded({ aggregateId, noteId: NoteId.parse('1'), others: [NoteId.parse('2')] }),
    { noteId: '1', others: ['2'] },
  ],
  ['a date', new Dated({ aggregateId, on: new Date(1234) }), { on: new Date(1234) }],
  ['bigints', new Large({ aggregateId, units: 12n, more: 2n ** 70n }), { units: 12n, more: 2n ** 70n }],
  ['an instance of a class', new Charged({ aggregateId, amount: new Decimal('12.50') }), {}],
  ['a decimal as text', new Charged({ aggregateId, amount: '0.10' }), {}],
  ['an idempotent transform', new Trimmed({ aggregateId, text: ' Abc ' }), { text: 'abc' }],
]

function expectSame(read: unknown, event: DomainEvent, payload: object): void {
  expect(read).toBeInstanceOf(event.constructor)
  expect(read).toMatchObject(payload)
  expect(read).toEqual(event)
  if (!(event instanceof Charged)) return
  const amount = read instanceof Charged ? read.amount : undefined
  expect(amount).toBeInstanceOf(Decimal)
  expect(amount?.toJSON()).toBe(event.amount.toJSON())
}

const codecs: Readonly<Record<string, EventCodec>> = {
  'as JSON': new JsonCodec(),
  'as JSON in snake_case': new JsonCodec({ payloadKeys: 'snake_case' }),
  'as CloudEvents': new CloudEventsCodec({ source: '/notes' }),
}

describe.each(KINDS)('%s', (_kind, event, payload) => {
  // The class of an event is its constructor.
  const eventClass = event.constructor as EventClass

  it.each(Object.keys(codecs))('is read as it was written, %s', (name) => {
    const codec = codecs[name] as EventCodec

    expectSame(
      codec.decode(codec.encode(event), () => eventClass),
      event,
      payload,
    )
  })

  it('is read as it was written, from a store in memory and in a file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'eventspine-kinds-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    await using stores = new SqliteStores({ file: join(folder, 'notes.db') })
    for (const store of [new InMemoryEventStore(), stores.events]) {
      store.registerEvents([eventClass])
      await store.appendEvents({ ...names, aggregateId, events: [event], expectedVersion: 0 })

      expectSame((await store.getEvents(aggregateId)).events[0], event, payload)
    }
  })

  it('is handled as it was written', async () => {
    const bus = new InMemoryEventBus()
    onTestFinished(() => bus.shutdown())
    const seen: DomainEvent[] = []
    bus.subscribe(eventClass, (read) => void seen.push(read))
    await bus.publish([event])

    expectSame(seen[0], event, payload)
  })
})

it('a record cannot have the key of an envelope field', () => {
  for (const key of ['metadata', 'event_id', 'occurredAt']) {
    expect(() => new Recorded({ aggregateId, ...JSON.parse(`{ "${key}": 1 }`) })).toThrow()
  }
})

it('a transform that is not idempotent is refused, with the path', () => {
  const schema = z.object({ total: z.number().transform((euros) => euros * 100) })
  const InCents = defineEvent({ ...names, schema })

  expect(() => new InCents({ aggregateId, total: 12.5 })).toThrow(
    /total: is changed by the schema each time the event is decoded/,
  )
})
