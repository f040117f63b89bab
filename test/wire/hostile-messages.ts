import fc from 'fast-check'
import { capturedBody, changedObject, mutatedBytes } from './hostile-bodies.ts'

/** One header or field, as bytes. */
export type Pair = readonly [name: Buffer, value: Buffer]

const HUGE = 40_000
const MANY = 9_000

const knownName = fc.constantFrom(
  'event_id',
  'event_type',
  'aggregate_id',
  'aggregate_type',
  'aggregate_version',
  'occurred_at',
  'tenant_id',
  'payload',
  'content_type',
  'traceparent',
  'baggage',
  'replay_handlers',
  'retry_count',
  'original_message_id',
  'dlq_reason',
  'dlq_consumer_group',
  'dlq_handlers',
  'dlq_attempts',
  'x-retry-count',
  'x-delivery-count',
  'x-death',
  '__proto__',
  'constructor',
  'toString',
  '',
)
const knownValue = fc.constantFrom(
  '',
  '0',
  '-1',
  '999999999999999999999',
  'NaN',
  'true',
  'null',
  '[]',
  '["nobody"]',
  '[1]',
  '{"a":{"__proto__":1}}',
  'OrderCreated',
  'ordercreated',
  'Unheard',
  '00-00000000000000000000000000000000-0000000000000000-00',
  'not-a-date',
  '../../etc/passwd',
  '\0',
)

/** Bytes in a row that no text has, often as many as a short string of AMQP can hold. */
const notUtf8 = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 40 }),
  fc.constantFrom(Uint8Array.of(0xff), new Uint8Array(255).fill(0xe9)),
)
export const hostileText = fc.oneof(
  { weight: 200, arbitrary: knownValue },
  { weight: 100, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  { weight: 1, arbitrary: fc.constant('x'.repeat(HUGE)) },
)

const hostileName: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 3, arbitrary: knownName.map((name) => Buffer.from(name)) },
  {
    weight: 1,
    arbitrary: fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), notUtf8).map(bufferOf),
  },
)
export const hostileValue: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 4, arbitrary: hostileText.map(bufferOf) },
  { weight: 1, arbitrary: notUtf8.map(bufferOf) },
)

function bufferOf(bytes: string | Uint8Array): Buffer {
  return typeof bytes === 'string' ? Buffer.from(bytes) : Buffer.from(bytes)
}

type Change = (pairs: Pair[], at: number) => void

const changeOfPairs: fc.Arbitrary<Change> = fc.oneof(
  { weight: 800, arbitrary: fc.constant<Change>((pairs, at) => void pairs.splice(at, 1)) },
  {
    weight: 800,
    arbitrary: hostileValue.map<Change>((value) => (pairs, at) => {
      const [name] = pairs[at] ?? [Buffer.from('event_id')]
      pairs[at] = [name, value]
    }),
  },
  {
    weight: 800,
    arbitrary: fc.tuple(hostileName, hostileValue).map<Change>((pair) => (pairs) => void pairs.push(pair)),
  },
  {
    weight: 400,
    arbitrary: hostileValue.map<Change>((value) => (pairs, at) => {
      // The same name a second time, before or after the first.
      const [name] = pairs[at] ?? [Buffer.from('event_type')]
      pairs.splice(at, 0, [name, value])
    }),
  },
  {
    weight: 400,
    arbitrary: hostileName.map<Change>((name) => (pairs, at) => {
      pairs[at] = [name, pairs[at]?.[1] ?? Buffer.alloc(0)]
    }),
  },
  {
    weight: 200,
    arbitrary: fc.constant<Change>((pairs) => void pairs.reverse()),
  },
  {
    weight: 1,
    arbitrary: hostileName.map<Change>((name) => (pairs) => {
      for (let count = 0; count < MANY; count += 1) pairs.push([name, Buffer.from('x')])
    }),
  },
)

/** Headers as they were, or with up to four changes. */
export function hostilePairs(from: readonly (readonly Pair[])[]): fc.Arbitrary<readonly Pair[]> {
  const changes = fc.array(fc.tuple(changeOfPairs, fc.nat()), { maxLength: 4 })
  return fc.tuple(fc.constantFrom(...from), changes).map(([original, list]) => {
    const pairs = [...original]
    for (const [change, at] of list) change(pairs, pairs.length === 0 ? 0 : at % pairs.length)
    return pairs
  })
}

/** A body as it was, or mutated, or nothing of the kind. */
export const hostileBody: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 300, arbitrary: capturedBody },
  { weight: 200, arbitrary: mutatedBytes.map(bufferOf) },
  { weight: 200, arbitrary: changedObject.map(bufferOf) },
  { weight: 50, arbitrary: fc.uint8Array({ maxLength: 200 }).map(bufferOf) },
  { weight: 50, arbitrary: fc.json().map(bufferOf) },
  { weight: 50, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }).map(bufferOf) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      Buffer.from('['.repeat(HUGE)),
      Buffer.from(`{"a":${'{"a":'.repeat(HUGE / 10)}`),
      Buffer.from(`"${'x'.repeat(HUGE)}"`),
    ),
  },
)
