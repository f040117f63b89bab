import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { test } from './conformance-test.ts'
import { Marked, Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

/** Counts the handlers that run concurrently, per aggregate and in total. */
class Overlap {
  readonly #running = new Map<string, number>()
  now = 0
  most = 0
  mostOfOne = 0

  async during(aggregateId: string, work: () => Promise<unknown>): Promise<void> {
    const ofOne = (this.#running.get(aggregateId) ?? 0) + 1
    this.#running.set(aggregateId, ofOne)
    this.now += 1
    this.most = Math.max(this.most, this.now)
    this.mostOfOne = Math.max(this.mostOfOne, ofOne)
    try {
      await work()
    } finally {
      this.now -= 1
      this.#running.set(aggregateId, ofOne - 1)
    }
  }
}

const KEYS = Array.from({ length: 16 }, (_, index) => `Order-${index}`)

/** Events in rounds of one per aggregate, so that the aggregates are well mixed. */
const mixed = (rounds: number) =>
  Array.from({ length: rounds }, (_, n) => KEYS.map((key) => noted(key, n))).flat()

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await nextTurn()
}

function numbersByKey(events: readonly Noted[]): ReadonlyMap<string, readonly number[]> {
  const byKey = Map.groupBy(events, ({ aggregateId }) => aggregateId)
  return new Map([...byKey].map(([key, ofKey]) => [key, ofKey.map(({ n }) => n)]))
}

/** Promises 4 and 7: order per aggregate, concurrency across aggregates, and a limit for held messages. */
export const orderTests = [
  test('handles the events of an aggregate one at a time, in order', { needs: ['lanes'] }, async (scene) => {
    const overlap = new Overlap()
    // The handlers have different durations, so that without lanes a later event of an aggregate would start too early.
    const work = ({ aggregateId, n }: Noted) => turns(1 + ((KEYS.indexOf(aggregateId) * 3 + n) % 5))
    const recording = new Recording<Noted>((event) => overlap.during(event.aggregateId, () => work(event)))
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler))
    const events = mixed(30)

    for (let start = 0; start < events.length; start += 50) await bus.publish(events.slice(start, start + 50))

    await scene.runs(recording, events.length)
    const expected = Array.from({ length: 30 }, (_, n) => n)
    const seen = numbersByKey(recording.events)
    for (const key of KEYS) assert.deepEqual(seen.get(key), expected, `order of ${key}`)
    assert.equal(overlap.mostOfOne, 1)
    assert.ok(overlap.most > 1, 'no two aggregates were handled side by side')
  }),

  test('keeps the order of 16 aggregates within each of 5 consumers', {
    needs: ['lanes', 'consumerGroups'],
  }, async (scene) => {
    const recordings = Array.from({ length: 5 }, () => new Recording<Noted>(() => nextTurn()))
    for (const { handler } of recordings) {
      await scene.consumer((bus) => bus.subscribe(Noted, handler), { maxInFlight: 20 })
    }
    const publisher = await scene.bus()
    const events = mixed(30)

    for (let start = 0; start < events.length; start += 16) {
      await publisher.publish(events.slice(start, start + 16))
    }

    const handled = () => recordings.flatMap(({ ids }) => ids)
    await scene.until(
      'all events',
      () => handled().length >= events.length,
      () => handled().length,
    )
    assert.equal(new Set(handled()).size, events.length)
    for (const recording of recordings) {
      for (const [key, numbers] of numbersByKey(recording.events)) {
        assert.deepEqual(
          numbers,
          numbers.toSorted((a, b) => a - b),
          `order of ${key}`,
        )
      }
    }
  }),

  test('lets a retried event hold back its own aggregate only', { needs: ['lanes', 'retry'] }, (scene) =>
    retryHoldsBackItsOwnAggregateOnly(scene, 16),
  ),

  test('occupies no concurrency slot while a retry waits', { needs: ['lanes', 'retry'] }, (scene) =>
    retryHoldsBackItsOwnAggregateOnly(scene, 1),
  ),

  test('lets a stuck handler hold back its own aggregate only', { needs: ['lanes'] }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const recording = new Recording<Noted>(({ aggregateId }) => aggregateId === 'stuck' && gate.promise)
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler))
    await bus.publish(series('stuck', 3))

    await bus.publish(Array.from({ length: 30 }, (_, n) => noted(`Order-${n % 10}`, n)))
    await scene.runs(recording, 31)
    assert.equal(recording.events.filter(({ aggregateId }) => aggregateId === 'stuck').length, 1)

    gate.resolve()
    await scene.runs(recording, 33)
    assert.deepEqual(numbersByKey(recording.events).get('stuck'), [0, 1, 2])
  }),

  test('handles as many aggregates concurrently as `concurrency` allows', {
    needs: ['lanes'],
  }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const overlap = new Overlap()
    const recording = new Recording<Noted>(({ aggregateId }) =>
      overlap.during(aggregateId, () => gate.promise),
    )
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), { concurrency: 3 })

    await bus.publish(Array.from({ length: 8 }, (_, n) => noted(`Order-${n}`, n)))

    await scene.until(
      '8 in flight',
      () => bus.getStats().inFlight === 8,
      () => bus.getStats(),
    )
    await scene.runs(recording, 3)
    assert.equal(overlap.now, 3)
    gate.resolve()
    await scene.runs(recording, 8)
    assert.equal(overlap.most, 3)
  }),

  test('holds at most maxInFlight messages while handlers are stuck', {
    needs: ['backpressure', 'consumerGroups'],
  }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const held: number[] = []
    const recording = new Recording<Noted>(() => {
      held.push(bus.getStats().inFlight)
      return gate.promise
    })
    const other = new Recording<Noted>()
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), { maxInFlight: 5 })
    await scene.consumer((it) => it.subscribe(Noted, other.handler), { consumerGroup: 'other' })

    await bus.publish(Array.from({ length: 60 }, (_, n) => noted(`Order-${n}`, n)))
    // Another group has received all events, so they were available.
    await scene.runs(other, 60)
    await scene.until(
      '5 in flight',
      () => bus.getStats().inFlight === 5,
      () => bus.getStats(),
    )
    assert.equal(recording.runs.length, 5)

    gate.resolve()
    await scene.runs(recording, 60)
    assert.ok(Math.max(...held) <= 5, `held ${Math.max(...held)}`)
    assert.equal(new Set(recording.ids).size, 60)
  }),

  test('works with room for one message', { needs: ['backpressure'] }, async (scene) => {
    const recording = new Recording<Noted>(() => nextTurn())
    const marks = new Recording<Marked>()
    const bus = await scene.consumer(
      (it) => {
        it.subscribe(Noted, recording.handler)
        it.subscribe(Marked, marks.handler)
      },
      { maxInFlight: 1, concurrency: 1 },
    )

    await bus.publish(mixed(2))

    await scene.runs(recording, 32)
    await scene.flush(bus, 'Order-0', marks)
    assert.equal(recording.runs.length, 32)
  }),
  test('holds at most maxInFlightBytes and one message while handlers are stuck', {
    needs: ['backpressure', 'consumerGroups'],
  }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const text = 'x'.repeat(20_000)
    const recording = new Recording<Noted>(() => gate.promise)
    const other = new Recording<Noted>()
    const limits = { maxInFlightBytes: 100_000, concurrency: 100 }
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), limits)
    await scene.consumer((it) => it.subscribe(Noted, other.handler), { consumerGroup: 'other' })

    await bus.publish(Array.from({ length: 40 }, (_, n) => new Noted({ aggregateId: `Order-${n}`, n, text })))
    // The events that the other group handled were available to this one, too.
    await scene.runs(other, 40)
    // A consumer that cannot return surplus messages gets them one by one.
    await scene.runs(recording, 1)
    const held = bus.getStats().inFlight * text.length

    gate.resolve()
    await scene.runs(recording, 40)
    assert.ok(held <= limits.maxInFlightBytes + text.length, `held ${held} bytes`)
    assert.equal(new Set(recording.ids).size, 40)
  }),

  test('handles a message that is larger than maxInFlightBytes alone', {
    needs: ['backpressure'],
  }, async (scene) => {
    const held: number[] = []
    const recording = new Recording<Noted>(async () => {
      held.push(bus.getStats().inFlight)
      await nextTurn()
    })
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), { maxInFlightBytes: 1 })

    await bus.publish(series('Order-1', 10))

    await scene.runs(recording, 10)
    assert.deepEqual(new Set(held), new Set([1]))
  }),
]

async function retryHoldsBackItsOwnAggregateOnly(scene: Scene, concurrency: number): Promise<void> {
  let areOthersDone = false
  const bad = new Recording<Noted>(({ n }) => {
    if (n === 0 && !areOthersDone) throw new Error('planned')
  })
  const others = new Recording<Noted>()
  const options = { maxRetries: 10_000, retryBaseDelayMs: 2, retryMaxDelayMs: 10, concurrency }
  const bus = await scene.consumer((it) => {
    it.subscribe(Noted, (event, context) =>
      (event.aggregateId === 'bad' ? bad : others).handler(event, context),
    )
  }, options)
  await bus.publish(series('bad', 3))
  await scene.until('a retry', () => bad.events.filter(({ n }) => n === 0).length >= 2)

  await bus.publish(Array.from({ length: 40 }, (_, n) => noted(`Order-${n % 10}`, n)))
  await scene.runs(others, 40)
  areOthersDone = true

  await scene.until(
    'the rest of the aggregate',
    () => bad.events.some(({ n }) => n === 2),
    () => bad.runs.length,
  )
  const firstOfLater = bad.events.findIndex(({ n }) => n > 0)
  assert.ok(bad.events.slice(firstOfLater).every(({ n }) => n > 0))
  assert.deepEqual(
    bad.events.slice(firstOfLater).map(({ n }) => n),
    [1, 2],
  )
}
