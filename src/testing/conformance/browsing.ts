import assert from 'node:assert/strict'
import type { BrowsedEvent, BrowseProgress, BrowseQuery, EventBus } from '../../index.ts'
import { test } from './conformance-test.ts'
import { ids, Marked, marked, Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

const SOON_MS = 60_000

/** The bus of an operator, which also publishes. On RabbitMQ, it keeps a journal. */
async function operatorBus(scene: Scene): Promise<EventBus> {
  const bus = await scene.bus({ consumerGroup: 'browser' })
  await bus.connect()
  return bus
}

function browsed({ admin }: EventBus, query: BrowseQuery = {}): Promise<readonly BrowsedEvent[]> {
  return allOf(admin.browse(query))
}

async function allOf<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

const idsOf = (found: readonly BrowsedEvent[]) => found.map(({ eventId }) => eventId)

/** Three aggregates with three events each, and one event that the first one caused. */
async function published(bus: EventBus) {
  const events = ['Order-1', 'Order-2', 'Order-3'].flatMap((aggregateId) => series(aggregateId, 3))
  const [first] = events
  assert.ok(first !== undefined)
  const { correlationId, eventId: causationId } = first
  const caused = new Noted({ aggregateId: 'Order-4', n: 7, text: 'später', correlationId, causationId })
  const mark = marked('Order-4')
  await bus.publish([...events, caused, mark])
  return { events, first, caused, mark, all: [...events, caused, mark] }
}

/** Promise 19: an operator finds an event, and changes nothing by looking. */
export const browsingTests = [
  test('browses past events in both directions, and continues at a position', {
    needs: ['operator'],
  }, async (scene) => {
    const bus = await operatorBus(scene)
    const { all } = await published(bus)

    const forward = await browsed(bus)
    const backward = await browsed(bus, { direction: 'backward' })

    assert.deepEqual(idsOf(forward).toSorted(), ids(all).toSorted())
    for (const [aggregateId, events] of Map.groupBy(all, (event) => event.aggregateId)) {
      assert.deepEqual(idsOf(forward.filter((found) => found.aggregateId === aggregateId)), ids(events))
    }
    assert.deepEqual(idsOf(backward), idsOf(forward).toReversed())
    for (const direction of ['forward', 'backward'] as const) {
      const start = await browsed(bus, { direction, limit: 4 })
      const rest = await browsed(bus, { direction, from: start.at(-1)?.position ?? '' })
      assert.deepEqual(idsOf([...start, ...rest]), idsOf(direction === 'forward' ? forward : backward))
      for (const from of ['nonsense', '-1', '1.5', `${'9'.repeat(30)}-1`]) {
        const wrong = { code: 'CONFIG_INVALID', message: /from must be/ }
        await assert.rejects(browsed(bus, { direction, from }), wrong)
      }
    }
  }),

  test('browses by id, aggregate, type, correlation, causation, text and time', {
    needs: ['operator'],
  }, async (scene) => {
    const bus = await operatorBus(scene)
    const start = Date.now()
    const { first, caused, mark, events, all } = await published(bus)
    const { correlationId } = first

    const matching = async (filter: BrowseQuery['filter'] & object) => idsOf(await browsed(bus, { filter }))
    assert.deepEqual(await matching({ eventId: caused.eventId }), [caused.eventId])
    assert.deepEqual(await matching({ aggregateId: 'Order-2' }), ids(events.slice(3, 6)))
    assert.deepEqual(await matching({ eventTypes: ['ConformanceMarked'] }), [mark.eventId])
    assert.deepEqual((await matching({ correlationId })).toSorted(), ids([first, caused]).toSorted())
    assert.deepEqual(await matching({ causationId: first.eventId }), [caused.eventId])
    assert.deepEqual(await matching({ text: 'später' }), [caused.eventId])
    assert.deepEqual(await matching({ aggregateType: 'Note', occurredBefore: new Date(start - SOON_MS) }), [])
    const since = await browsed(bus, { from: new Date(start - SOON_MS) })
    assert.equal(since.length, all.length)
    assert.deepEqual(await browsed(bus, { from: new Date(start - SOON_MS), direction: 'backward' }), [])
    const [found] = await browsed(bus, { filter: { eventId: caused.eventId } })
    assert.deepEqual(JSON.parse(JSON.stringify(found?.event)), JSON.parse(JSON.stringify(caused)))
    await assert.rejects(matching({ eventType: 'Noted' } as object), /eventType is not an option/)
  }),

  test('finds one event, reports its progress, and ends at a bound or when it is aborted', {
    needs: ['operator'],
  }, async (scene) => {
    const bus = await operatorBus(scene)
    const { caused, all } = await published(bus)
    const progress: BrowseProgress[] = []
    const onProgress = (one: BrowseProgress) => progress.push(one)
    const ended = () => progress.at(-1)

    const found = await bus.admin.find(caused.eventId, { onProgress })
    assert.equal(found?.aggregateId, 'Order-4')
    assert.equal(ended()?.ended, 'limit')
    assert.equal(await bus.admin.find('no such event', { onProgress }), undefined)
    assert.equal(ended()?.ended, 'end')
    assert.equal(ended()?.scanned, all.length)
    assert.equal(await bus.admin.find('no such event', { onProgress, maxScanned: 3 }), undefined)
    assert.deepEqual([ended()?.ended, ended()?.scanned], ['maxScanned', 3])
    const signal = AbortSignal.abort()
    assert.deepEqual(await browsed(bus, { onProgress, signal }), [])
    assert.equal(ended()?.ended, 'aborted')
  }),

  test('shows the events that are published after a tail began, until it is ended', {
    needs: ['operator'],
  }, async (scene) => {
    const bus = await operatorBus(scene)
    await bus.publish([marked('Order-1')])
    const seen: string[] = []
    const ready = Promise.withResolvers<void>()
    const ended = new AbortController()
    const { signal } = ended
    const filter = { eventTypes: ['ConformanceNoted'] }
    const tailing = (async () => {
      for await (const { eventId } of bus.admin.tail({ filter, signal, onReady: ready.resolve }))
        seen.push(eventId ?? '')
    })()
    await scene.within(Promise.race([ready.promise, tailing]), 'the tail to start')

    const { events, caused } = await published(bus)
    await scene.until(
      'every event in the tail',
      () => seen.length >= 10,
      () => seen,
    )
    ended.abort()
    await scene.within(tailing, 'the tail to end')

    assert.deepEqual(seen.toSorted(), ids([...events, caused]).toSorted())
  }),

  test('changes nothing for consumers while an operator looks', {
    needs: ['operator', 'consumerGroups', 'persistence'],
  }, async (scene) => {
    const recording = new Recording<Noted>()
    const marks = new Recording<Marked>()
    const consumer = await scene.consumer((it) => {
      it.subscribe(Noted, recording.handler, { name: 'notes' })
      it.subscribe(Marked, marks.handler, { name: 'marks' })
    })
    const bus = await operatorBus(scene)
    const ended = new AbortController()
    const ready = Promise.withResolvers<void>()
    const tail = bus.admin.tail({ signal: ended.signal, onReady: ready.resolve })
    const tailing = allOf(tail)
    await scene.within(Promise.race([ready.promise, tailing]), 'the tail to start')

    const { all, events, caused } = await published(bus)
    const found = await browsed(bus)
    await bus.admin.find(caused.eventId)
    await scene.runs(recording, 10)
    await scene.flush(consumer, 'Order-1', marks)
    await scene.until('the end of the tail', async () => (await browsed(bus)).length === all.length + 1)
    ended.abort()
    await scene.within(tailing, 'the tail to end')
    const groups = await bus.admin.groups()

    assert.equal(found.length, all.length)
    assert.deepEqual(recording.ids.toSorted(), ids([...events, caused]).toSorted())
    assert.ok(recording.runs.every(({ deliveryCount }) => deliveryCount === 1))
    assert.deepEqual(
      groups.map(({ name }) => name),
      ['main'],
    )
  }),

  test('reads only the partition of the aggregate that is searched', {
    needs: ['operator', 'sharedOrder'],
  }, async (scene) => {
    const bus = await scene.bus({ consumerGroup: 'browser', partitions: 4 })
    await bus.connect()
    const events = Array.from({ length: 20 }, (_, n) => noted(`Order-${n}`))
    await bus.publish(events)
    const everywhere = await browsed(bus)
    const partitions = new Set(everywhere.map(({ partition }) => partition))
    const scans: number[] = []
    const onProgress = ({ scanned }: BrowseProgress) => scans.push(scanned)

    const found = await browsed(bus, { filter: { aggregateId: 'Order-7' }, onProgress })
    const byId = await bus.admin.find(events[7]?.eventId ?? '', { aggregateId: 'Order-7' })

    assert.deepEqual(idsOf(found), ids(events.slice(7, 8)))
    assert.equal(byId?.eventId, events[7]?.eventId)
    assert.equal(everywhere.length, 20)
    if (!partitions.has(undefined)) {
      assert.equal(partitions.size, 4)
      assert.ok((scans.at(-1) ?? 20) < 15, `read ${scans.at(-1)} of 20 events`)
    }
  }),

  test('shows a message that is not an event, without failing', {
    needs: ['operator', 'wire'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const bus = await operatorBus(scene)
    await bus.publish(series('Order-1', 1))
    await scene.publishRaw({
      headers: { event_type: 'ConformanceNoted', aggregate_type: 'Note', aggregate_id: 'Order-1' },
      body: 'no event',
      key: 'Order-1',
    })

    const found = await browsed(bus)

    assert.equal(found.length, 2)
    const [broken] = found.filter(({ event }) => event === undefined)
    assert.equal(Buffer.from(broken?.body ?? []).toString(), 'no event')
    assert.equal(broken?.eventType, 'ConformanceNoted')
    assert.equal((await browsed(bus, { filter: { correlationId: 'x' } })).length, 0)
  }),
]
