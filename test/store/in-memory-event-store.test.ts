import fc from 'fast-check'
import { expect, it } from 'vitest'
import { InMemoryEventStore, InMemorySnapshotStore, OptimisticLockError } from '../../src/index.ts'
import { orderCreated, orderShipped } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const stream = { aggregateId: 'Order-1', aggregateType: 'Order' }

/** A writer that knows the version it saw last, and may be late. */
const attempt = fc.record({
  key: fc.integer({ min: 0, max: 2 }),
  count: fc.integer({ min: 1, max: 3 }),
  /** How far behind (or ahead of) the stream the writer is. */
  lag: fc.constantFrom(0, 0, 0, 1, 2, -1),
  isRepeated: fc.boolean(),
})

it('keeps every stream consistent under random writers: each append is stored once, or not at all', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(attempt, { maxLength: 40 }), async (attempts) => {
      const store = new InMemoryEventStore()
      const model = new Map<string, string[]>()
      let head = 0
      for (const { key, count, lag, isRepeated } of attempts) {
        const aggregateId = `k${key}`
        const ids = model.get(aggregateId) ?? []
        const events = Array.from({ length: count }, () => orderCreated(aggregateId))
        const request = { ...stream, aggregateId, events, expectedVersion: Math.max(0, ids.length - lag) }
        const isRight = request.expectedVersion === ids.length
        for (let time = 0; time < (isRepeated ? 2 : 1); time += 1) {
          const outcome = await store.appendEvents(request).catch((error: unknown) => error)
          if (!isRight) {
            expect(outcome).toBeInstanceOf(OptimisticLockError)
            continue
          }
          if (time === 0) {
            head += count
            model.set(aggregateId, [...ids, ...events.map(({ eventId }) => eventId)])
          }
          expect(outcome).toEqual({ newVersion: ids.length + count, globalPosition: head })
        }
      }
      expect(await store.headPosition()).toBe(head)
      for (const [aggregateId, ids] of model) {
        const { events, version } = await store.getEvents(aggregateId)
        expect(events.map(({ eventId }) => eventId)).toEqual(ids)
        expect(events.map(({ aggregateVersion }) => aggregateVersion)).toEqual(
          ids.map((_, index) => index + 1),
        )
        expect(version).toBe(ids.length)
      }
    }),
  )
})

it('lets exactly one writer win each version when writers compete, load and compete again', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 12 }), fc.scheduler(), async (writers, scheduler) => {
      const store = new InMemoryEventStore()
      const write = async () => {
        for (;;) {
          const { version } = await scheduler.schedule(store.getEvents('Order-1'))
          const events = [orderShipped()]
          const request = { ...stream, events, expectedVersion: version }
          const outcome = await scheduler.schedule(
            store.appendEvents(request).catch((error: unknown) => error),
          )
          if (!(outcome instanceof OptimisticLockError)) return outcome
        }
      }
      const all = Promise.all(Array.from({ length: writers }, write))
      await scheduler.waitFor(all)

      const versions = (await store.getEvents('Order-1')).events.map(
        ({ aggregateVersion }) => aggregateVersion,
      )
      expect(versions).toEqual(Array.from({ length: writers }, (_, index) => index + 1))
    }),
    { numRuns: 30 },
  )
})

it('reports a listener that throws, and still stores the event', async () => {
  const logger = new RecordingLogger()
  const store = new InMemoryEventStore({ logger })
  store.onAppend(() => {
    throw new Error('no')
  })

  await store.appendEvents({ ...stream, events: [orderCreated()], expectedVersion: 0 })

  expect(await store.headPosition()).toBe(1)
  expect(logger.lines).toMatchObject([{ level: 'error', message: 'a listener of onAppend failed' }])
})

it('never stores an event with an earlier time than the previous one, although its clock is set back', async () => {
  const times = [2000, 1000, 3000].map((time) => new Date(time))
  const store = new InMemoryEventStore({ now: () => times.shift() ?? new Date() })
  for (let index = 0; index < 3; index += 1) {
    await store.appendEvents({ ...stream, events: [orderCreated()], expectedVersion: 'any' })
  }

  expect(await store.positionBefore(new Date(2000))).toBe(0)
  expect(await store.positionBefore(new Date(2001))).toBe(2)
})

it('refuses an invalid expected version, and a value that is not an event', async () => {
  const store = new InMemoryEventStore()

  await expect(
    store.appendEvents({ ...stream, events: [orderCreated()], expectedVersion: -1 }),
  ).rejects.toThrow(
    "expectedVersion must be an integer of at least 0, 'any', 'noStream' or 'streamExists', got -1",
  )
  const events = [JSON.parse('{"eventType":"OrderCreated"}')]
  await expect(store.appendEvents({ ...stream, events, expectedVersion: 0 })).rejects.toThrow(
    'appendEvents takes an array of events',
  )
  const proxies = [new Proxy(orderCreated(), {})]
  await expect(store.appendEvents({ ...stream, events: proxies, expectedVersion: 0 })).rejects.toThrow(
    'It is a proxy of an event',
  )
})

it('keeps the latest snapshot of an aggregate, as a copy', async () => {
  const snapshots = new InMemorySnapshotStore()
  const state = { lines: ['a'] }
  const snapshot = { ...stream, version: 3, schemaVersion: 1, state, takenAt: new Date() }
  await snapshots.save(snapshot)
  state.lines.push('b')
  await snapshots.save({ ...snapshot, version: 2, state: 'older' })

  expect(await snapshots.load('Order', 'Order-1')).toEqual({ ...snapshot, state: { lines: ['a'] } })
  expect(await snapshots.load('Note', 'Order-1')).toBeUndefined()

  await snapshots.save({ ...snapshot, version: 2, schemaVersion: 2, state: 'new shape' })
  expect(await snapshots.load('Order', 'Order-1')).toMatchObject({ version: 2, state: 'new shape' })
  await snapshots.delete('Order', 'Order-1')
  expect(await snapshots.load('Order', 'Order-1')).toBeUndefined()
})
