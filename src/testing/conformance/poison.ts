import assert from 'node:assert/strict'
import { type BrokerEventBus, JsonCodec } from '../../index.ts'
import { type ConformanceTest, test } from './conformance-test.ts'
import { Marked, Noted, noted, Unheard } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

const codec = new JsonCodec()

/** A message as another producer could write it. @param changes - replaces fields of the body. */
function wire(changes: Readonly<Record<string, unknown>> = {}) {
  const { key, headers, body } = codec.encode(noted('Order-1', 1))
  return { key, headers, body: JSON.stringify({ ...JSON.parse(String(body)), ...changes }) }
}

const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`

/** Bodies that are not an event of a subscribed type. */
const UNDECODABLE: Readonly<Record<string, string | Uint8Array>> = {
  'bytes that are not JSON': 'so-called {"json"',
  'an empty body': '',
  'bytes that are not UTF-8': Uint8Array.of(0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d),
  'JSON that is not an object': '[1, 2, 3]',
  'an object that is not an event': '{"hello": "world"}',
  'a payload that fails its schema': wire({ n: 'not a number' }).body,
  'a missing event id': wire({ event_id: undefined }).body,
  'an invalid time': wire({ occurred_at: 'yesterday' }).body,
  'an invalid version': wire({ aggregate_version: 'first' }).body,
  'an aggregate id that is too long': wire({ aggregate_id: 'x'.repeat(4097) }).body,
  'an oversize body': wire({ text: 'x'.repeat(10_000) }).body,
  'a body too deep to walk': wire().body.replace('"n":1', `"n":1,"list":${deep(2000)}`),
  'more values than a message may have': wire().body.replace('"n":1', `"n":1,"list":[${'1,'.repeat(300)}1]`),
  'more fields than a message may have': wire().body.replace(
    '"n":1',
    `"n":1,"map":{${'"k":1,'.repeat(150)}"k":1}`,
  ),
  'a field that would change prototypes': wire().body.replace('"n":1', '"n":1,"__proto__":{"isAdmin":true}'),
  'a type that differs from the header': wire({ event_type: 'ConformanceMarked' }).body,
}

const undecodableTests: readonly ConformanceTest[] = Object.entries(UNDECODABLE).map(([what, body]) =>
  test(
    `keeps as a dead letter, at once and bit for bit: ${what}`,
    {
      needs: ['wire', 'deadLetters'],
      faults: ['publishRaw'],
    },
    (scene) => isDeadLetteredAtOnce(scene, body),
  ),
)

async function isDeadLetteredAtOnce(scene: Scene, body: string | Uint8Array): Promise<void> {
  const { bus, handled } = await listeningBus(scene)
  const { key, headers } = wire()

  await scene.publishRaw({ key, headers, body })
  const good = noted('Order-1', 2)
  await bus.publish([good])

  await scene.runs(handled, 1)
  assert.deepEqual(handled.ids, [good.eventId])
  await scene.until(
    'a dead letter',
    () => bus.getStats().messagesSentToDlq === 1,
    () => bus.getStats(),
  )
  const { deadLetters } = await bus.deadLetters.list()
  assert.equal(deadLetters.length, 1)
  const [letter] = deadLetters
  assert.deepEqual(Buffer.from(letter?.body ?? []), Buffer.from(body))
  assert.equal(letter?.reason, 'deserialization_error')
  assert.equal(letter?.errorName, 'DecodeError')
  assert.ok((letter?.errorMessage ?? '') !== '')
  assert.equal(letter?.attempts, 0)
  assert.deepEqual(letter?.handlerNames, [])
  assert.equal(Reflect.get({}, 'isAdmin'), undefined)
  assert.deepEqual(
    [bus.getStats().eventsProcessedFailed, bus.getStats().handlerErrors, bus.getStats().eventsRetried],
    [1, 0, 0],
  )
}

async function listeningBus(
  scene: Scene,
): Promise<{ readonly bus: BrokerEventBus; readonly handled: Recording<Noted | Marked> }> {
  const handled = new Recording<Noted | Marked>()
  const bus = await scene.consumer((it) => it.subscribe([Noted, Marked], handled.handler), {
    codec: new JsonCodec({ maxBodyBytes: 5000, maxValues: 250, maxKeys: 100 }),
    retryBaseDelayMs: 60_000,
  })
  return { bus, handled }
}

/** Malformed headers, some in addition to those of an event. */
const ODD_HEADERS: readonly Readonly<Record<string, string>>[] = [
  {},
  { event_type: 'ConformanceNoted' },
  { event_type: 'ConformanceNoted', occurred_at: 'yesterday', aggregate_version: 'NaN' },
  { ...wire().headers, 'x-unknown': 'text', empty: '', long: 'x'.repeat(2000), umlaut: 'ä€🎈' },
  { ...wire().headers, traceparent: 'garbage', tracestate: '=,=', baggage: ';;' },
  { ...wire().headers, replay_handlers: 'no JSON' },
  { ...wire().headers, replay_handlers: '[1, {}]' },
  { ...wire().headers, retry_count: '-1', 'x-retry-count': '1e99', 'x-delivery-count': 'many' },
]

/** Headers that the library writes itself on its own paths, as any other producer can write them too. */
const FORGED_HEADERS: readonly Readonly<Record<string, string>>[] = [
  { ...wire().headers, replay_handlers: '["nobody"]' },
  { ...wire().headers, replay_handlers: '{"handlers":["one"],"settled":[]}' },
  { ...wire().headers, replay_handlers: '{"handlers":["(unnamed)"],"settled":["one","other"]}' },
  { ...wire().headers, settled_handlers: '["one","other"]', attempts: '99', retry_count: '99' },
  { ...wire().headers, dlq_settled_handlers: '["one"]', dlq_handlers: '["nobody"]', dlq_attempts: '99' },
  { ...wire().headers, 'x-dlq-settled-handlers': '["one"]', 'x-replayed-from-dlq': 'yes' },
  { ...wire().headers, 'x-delivery-count': '99', 'x-acquired-count': '99', 'x-retry-count': '99' },
]

/** Promise 6: poison is contained. */
export const poisonTests: readonly ConformanceTest[] = [
  ...undecodableTests,

  test('treats malformed headers as data', { needs: ['wire'], faults: ['publishRaw'] }, async (scene) => {
    const { bus, handled } = await listeningBus(scene)
    for (const [n, headers] of ODD_HEADERS.entries()) {
      await scene.publishRaw({ key: 'Order-1', headers, body: wire({ n }).body })
    }
    await scene.publishRaw({ headers: wire().headers, body: wire({ n: ODD_HEADERS.length }).body })

    await scene.runs(handled, ODD_HEADERS.length + 1)
    await scene.until(
      'all to be settled',
      () => bus.getStats().inFlight === 0,
      () => bus.getStats(),
    )
    const numbers = handled.events.map(({ n }) => n).toSorted((a, b) => a - b)
    assert.deepEqual(
      numbers,
      Array.from({ length: ODD_HEADERS.length + 1 }, (_, n) => n),
    )
    assert.equal(bus.getStats().messagesSentToDlq, 0)
  }),

  test('ignores headers of a producer about handlers and attempts', {
    needs: ['wire'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const [one, other] = [new Recording<Noted>(), new Recording<Noted>()]
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, one.handler, { name: 'one' })
      it.subscribe(Noted, other.handler, { name: 'other' })
    })
    for (const [n, headers] of FORGED_HEADERS.entries()) {
      await scene.publishRaw({ key: 'Order-1', headers, body: wire({ n }).body })
    }

    await scene.until(
      'all to be settled',
      () => bus.getStats().eventsConsumed === FORGED_HEADERS.length && bus.getStats().inFlight === 0,
      () => bus.getStats(),
    )
    const expected = FORGED_HEADERS.map((_, n) => [n, 1, 1])
    for (const { runs } of [one, other]) {
      const seen = runs.map(({ event, attempt, deliveryCount }) => [event.n, attempt, deliveryCount])
      assert.deepEqual(seen, expected)
    }
    assert.equal(bus.getStats().messagesSentToDlq, 0)
  }),

  test('keeps as a dead letter a message whose header names a type without handlers and whose body another type', {
    needs: ['wire', 'deadLetters'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const { bus, handled } = await listeningBus(scene)
    const headers = { event_type: 'ConformanceUnheard' }
    const { body } = wire()

    await scene.publishRaw({ key: 'Order-1', headers, body })
    await scene.publishRaw({ key: 'Order-1', headers, body: Buffer.from(body) })
    await scene.publishRaw({
      key: 'Order-1',
      headers,
      body: body.replace('"event_type"', String.raw`"event\u005ftype"`),
    })
    await bus.publish([noted('Order-1')])

    await scene.runs(handled, 1)
    await scene.until(
      '3 dead letters',
      () => bus.getStats().messagesSentToDlq === 3,
      () => bus.getStats(),
    )
    const { deadLetters } = await bus.deadLetters.list()
    for (const letter of deadLetters) {
      assert.equal(letter.reason, 'deserialization_error')
      assert.match(letter.errorMessage ?? '', /ConformanceUnheard/)
    }
    assert.equal(bus.getStats().eventsSkipped, 0)
  }),

  test('keeps as a dead letter a message whose ordering key is too long', {
    needs: ['wire', 'deadLetters'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const { bus, handled } = await listeningBus(scene)
    const { headers, body } = wire()
    const key = 'x'.repeat(50_000)

    await scene.publishRaw({ key, headers: { ...headers, aggregate_id: key }, body })
    await bus.publish([noted('Order-1')])

    await scene.runs(handled, 1)
    await scene.until(
      'a dead letter',
      () => bus.getStats().messagesSentToDlq === 1,
      () => bus.getStats(),
    )
    const { deadLetters } = await bus.deadLetters.list()
    assert.equal(deadLetters[0]?.reason, 'deserialization_error')
    assert.equal(Buffer.from(deadLetters[0]?.body ?? []).toString(), body)
  }),

  test('skips a type without a subscription without decoding it', {
    needs: ['wire'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const { bus, handled } = await listeningBus(scene)

    await scene.publishRaw({ key: 'Order-1', headers: { event_type: 'SomebodyElses' }, body: 'no JSON' })
    await scene.publishRaw({ key: 'Order-1', headers: {}, body: wire({ event_type: 'SomebodyElses' }).body })
    await bus.publish([new Unheard({ aggregateId: 'Order-1', n: 0 }), noted('Order-1')])

    await scene.runs(handled, 1)
    await scene.until(
      '3 skipped',
      () => bus.getStats().eventsSkipped === 3,
      () => bus.getStats(),
    )
    await scene.until(
      '1 consumed',
      () => bus.getStats().eventsConsumed === 1,
      () => bus.getStats(),
    )
    assert.equal(await bus.deadLetters.count(), 0)
  }),

  test('drops poison messages with a log line if the dead letter queue is off', {
    needs: ['wire', 'deadLetters'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const handled = new Recording<Noted>()
    const bus = await scene.consumer((it) => it.subscribe(Noted, handled.handler), { enableDlq: false })

    await scene.publishRaw({ key: 'Order-1', headers: wire().headers, body: 'no JSON' })
    await bus.publish([noted('Order-1')])

    await scene.runs(handled, 1)
    await scene.until(
      'both to be settled',
      () => bus.getStats().inFlight === 0,
      () => bus.getStats(),
    )
    assert.equal(bus.getStats().eventsProcessedFailed, 1)
    assert.equal(await bus.deadLetters.count(), 0)
    assert.ok(scene.log.lines.some(({ level, fields }) => level === 'error' && 'messageId' in fields))
  }),

  test(
    'dead-letters a message that kills its process every time, and no other',
    {
      needs: ['redelivery', 'deadLetters'],
      faults: ['crash'],
    },
    (scene) => survivesAKiller(scene),
  ),

  test(
    'dead-letters such a message even if consumers are stopped while they hold it',
    {
      needs: ['redelivery', 'deadLetters'],
      faults: ['crash'],
    },
    (scene) => survivesAKiller(scene, stopsOne),
  ),
]

/** A consumer that is stopped before it has handled anything. */
async function stopsOne(scene: Scene): Promise<void> {
  const stuck = new Recording<Noted>(() => scene.ended)
  const bus = await scene.consumer((it) => it.subscribe(Noted, stuck.handler), { maxRetries: 2 })
  await scene.until(
    'it to have something in hand, or a dead letter',
    async () => stuck.runs.length > 0 || (await bus.deadLetters.count()) > 0,
    () => bus.getStats(),
  )
  // A quarter of it is for storing for each message that it was not tried, which takes a busy broker some time.
  await bus.shutdown({ timeoutMs: 1200 })
}

async function survivesAKiller(
  scene: Scene,
  before: (scene: Scene) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  await scene.declareGroup()
  const publisher = await scene.brokerBus()
  const handled = new Recording<Noted>()
  const killed = new Recording<Noted>()
  const neighbors = Array.from({ length: 12 }, (_, n) => noted(`Order-${n}`, n))
  const killer = noted('killer')
  await publisher.publish([...neighbors.slice(0, 6), killer, ...neighbors.slice(6)])

  for (let life = 1; (await publisher.deadLetters.count()) === 0; life += 1) {
    assert.ok(life <= 8, 'the message killed 8 processes')
    let isDead = false
    await before(scene)
    await scene.consumer(
      (bus) =>
        bus.subscribe(Noted, async (event, context) => {
          // A dead process does nothing further.
          if (isDead) return scene.ended
          if (event.aggregateId !== 'killer') return handled.handler(event, context)
          killed.handler(event, context)
          isDead = true
          await scene.crash(bus)
          return scene.ended
        }),
      { maxRetries: 2 },
    )
    await scene.until(
      'a death or a dead letter',
      async () => isDead || (await publisher.deadLetters.count()) > 0,
      () => handled.ids,
    )
  }

  const { deadLetters } = await publisher.deadLetters.list()
  assert.deepEqual(
    deadLetters.map(({ eventId }) => eventId),
    [killer.eventId],
  )
  assert.equal(deadLetters[0]?.reason, 'delivery_limit_exceeded')
  assert.ok(killed.runs.length >= 2, `it was tried ${killed.runs.length} times`)
  await scene.until(
    'the neighbors',
    () => new Set(handled.ids).size === 12,
    () => handled.ids,
  )
}
