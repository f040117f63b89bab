import { type } from 'arktype'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  compareContracts,
  contractOf,
  defineEvent,
  type EventClass,
  firstVersion,
  parseContract,
} from '../../src/index.ts'

const names = { type: 'Placed', aggregateType: 'Order' }
const event = (schema: z.ZodObject, more: object = {}): EventClass =>
  defineEvent({ ...names, schema: schema as never, ...more }) as EventClass
const contract = (...classes: readonly EventClass[]) => contractOf(classes)

/** Field and rule of each fault between two versions of the code. */
function faultsOf(before: EventClass, now: EventClass): readonly (readonly [string, string])[] {
  const committed = parseContract(JSON.stringify(contract(before)))
  return compareContracts(committed, contractOf([now], committed)).map(({ field, rule }) => [field, rule])
}

const base = { total: z.number(), state: z.enum(['open', 'paid']), note: z.string().optional() }
const before = event(z.object(base))

describe('a change within a version', () => {
  it.each<[string, z.ZodObject]>([
    ['nothing', z.object(base)],
    ['an added optional field', z.object({ ...base, color: z.string().optional() })],
    ['an added field with a default', z.object({ ...base, currency: z.string().default('EUR') })],
    ['another order of fields', z.object({ note: base.note, state: base.state, total: base.total })],
    ['a description', z.object({ ...base, total: z.number().describe('in euros') })],
    ['a removed optional field', z.object({ total: base.total, state: base.state })],
  ])('is compatible: %s', (_what, schema) => {
    expect(faultsOf(before, event(schema))).toEqual([])
  })

  it.each<[string, z.ZodObject, string, string]>([
    ['an added required field', z.object({ ...base, color: z.string() }), 'color', 'field-missing'],
    ['a field that becomes required', z.object({ ...base, note: z.string() }), 'note', 'field-missing'],
    ['a removed field', z.object({ state: base.state, note: base.note }), 'total', 'field-missing'],
    ['another type', z.object({ ...base, total: z.string() }), 'total', 'type-changed'],
    ['a narrower type', z.object({ ...base, total: z.int() }), 'total', 'type-changed'],
    ['a removed value', z.object({ ...base, state: z.enum(['open']) }), 'state', 'value-refused'],
    [
      'an added value',
      z.object({ ...base, state: z.enum(['open', 'paid', 'lost']) }),
      'state',
      'value-refused',
    ],
    ['a limit', z.object({ ...base, total: z.number().max(100) }), 'total', 'limit-exceeded'],
    ['a pattern', z.object({ ...base, note: z.string().regex(/^a/).optional() }), 'note', 'format-changed'],
    ['a nullable field', z.object({ ...base, total: z.number().nullable() }), 'total', 'type-changed'],
  ])('breaks: %s', (_what, schema, field, rule) => {
    expect(faultsOf(before, event(schema))).toContainEqual([field, rule])
  })

  it('names the path in nested data, also through references and alternatives', () => {
    const nested = (sku: z.ZodType) =>
      event(z.object({ lines: z.array(z.object({ item: z.object({ sku }) })) }))
    const either = (b: z.ZodType) =>
      event(z.object({ by: z.union([z.object({ a: z.string() }), z.object({ b })]) }))
    const tree: z.ZodObject = z.object({ name: z.string(), children: z.array(z.lazy(() => tree)).optional() })

    expect(faultsOf(nested(z.string()), nested(z.number()))).toContainEqual([
      'lines[].item.sku',
      'type-changed',
    ])
    expect(faultsOf(either(z.string()), either(z.string()))).toEqual([])
    expect(faultsOf(either(z.string()), either(z.number())).length).toBeGreaterThan(0)
    expect(faultsOf(event(tree), event(tree))).toEqual([])
  })

  it('says who cannot read it, and what to do', () => {
    const [fault] = compareContracts(
      contract(before),
      contract(event(z.object({ ...base, total: z.string() }))),
    )

    expect(fault).toEqual({
      eventType: 'Placed',
      field: 'total',
      rule: 'type-changed',
      detail: 'stored events of version 1: number is written, string is read',
      remedy: 'raise the version to 2 and add an upcast: .to(2, …)',
    })
  })
})

describe('a new version', () => {
  const schema = z.object({ cents: z.int() })
  const upcasts = firstVersion(z.object({ total: z.number() })).to(2, ({ total }) => ({ cents: total * 100 }))

  it('is compatible with upcasts, and keeps the payload of the version before', () => {
    const now = event(schema, { upcasts })
    expect(faultsOf(before, now)).toEqual([])
    const { events } = contractOf([now], contract(before))
    expect(events['Placed']?.earlier['1']).toEqual(contract(before).events['Placed']?.payload)
  })

  it('breaks stored events without upcasts', () => {
    expect(faultsOf(before, event(schema, { schemaVersion: 2 }))).toEqual([['cents', 'upcast-missing']])
  })

  it('must not be lower than the published one', () => {
    expect(faultsOf(event(schema, { upcasts }), event(schema))).toEqual([['', 'version-lowered']])
  })
})

describe('names', () => {
  it('must not disappear, but may become aliases', () => {
    const renamed = (more: object) => event(z.object(base), { type: 'Ordered', ...more })

    expect(faultsOf(before, renamed({}))).toEqual([['', 'event-removed']])
    expect(faultsOf(before, renamed({ typeAliases: ['Placed'] }))).toEqual([])
    const aliased = event(z.object(base), { typeAliases: ['order.placed'] })
    expect(faultsOf(aliased, before)).toEqual([['', 'alias-removed']])
  })

  it('of the aggregate type must not disappear, but may become aliases', () => {
    const moved = (more: object) => event(z.object(base), { aggregateType: 'Sale', ...more })

    expect(faultsOf(before, moved({}))).toEqual([['', 'aggregate-type-changed']])
    expect(faultsOf(before, moved({ aggregateTypeAliases: ['Order'] }))).toEqual([])
  })
})

describe('consumers', () => {
  const schema = z.object({ cents: z.int() })
  const upcasts = firstVersion(z.object({ total: z.number() })).to(
    2,
    ({ total }) => ({ cents: total * 100 }),
    ({ cents }) => ({ total: cents / 100 }),
  )
  const producer = (more: object = {}) => contract(event(schema, { upcasts, ...more }))
  const check = (reader: EventClass, more?: object) =>
    compareContracts(producer(more), producer(more), { billing: contract(reader) })

  it('that read what is not written are named', () => {
    const [fault] = check(event(z.object({ total: z.number() })))

    expect(fault).toMatchObject({ eventType: 'Placed', field: 'total', rule: 'field-missing' })
    expect(fault?.detail).toBe('billing reads version 1, version 2 is written: it is read, but not written')
  })

  it.each<[string, EventClass, object]>([
    ['know the version', event(schema, { upcasts }), {}],
    ['read a part of it', event(z.object({ cents: z.number() })), {}],
    ['upcast the version that is written', event(schema, { upcasts }), { publishAs: 1 }],
    ['read the earlier version that is written', event(z.object({ total: z.number() })), { publishAs: 1 }],
    ['read events of others', event(schema, { type: 'Else' }), {}],
  ])('are compatible if they %s', (_what, reader, more) => {
    expect(check(reader, more)).toEqual([])
  })
})

it('describes payloads of other libraries, dates, bigints and types without a schema', () => {
  const classes: readonly EventClass[] = [
    defineEvent({ type: 'A', aggregateType: 'X', schema: type({ n: 'number' }) }),
    defineEvent({
      type: 'B',
      aggregateType: 'X',
      schema: z.object({ on: z.coerce.date(), n: z.coerce.bigint() }),
    }),
    defineEvent<{ n: number }>()({ type: 'C', aggregateType: 'X' }),
  ]
  const { events } = contractOf(classes)

  expect(events['A']?.payload.writes).toMatchObject({
    properties: { n: { type: 'number' } },
    required: ['n'],
  })
  expect(events['B']?.payload.writes).toMatchObject({
    properties: { on: { type: 'string', format: 'date-time' }, n: { type: 'integer' } },
  })
  expect(events['C']?.payload).toEqual({ writes: { type: 'object' } })
})

it('refuses a file that is no contract', () => {
  expect(() => parseContract('{"events":{}}')).toThrow(/not a contract of events/)
})
