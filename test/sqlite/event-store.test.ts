import { createRequire } from 'node:module'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import {
  AggregateRepository,
  defineEvent,
  EventRegistry,
  GenericEvent,
  handlerFor,
  STREAM_DELETED,
  StoreClosedError,
  type StoredEvent,
  SubscriptionManager,
  TransactionBypassError,
} from '../../src/index.ts'
import { Order } from '../support/order-aggregate.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { appendNotes, appendTo, Noted, numbers, withFile } from './sqlite-scene.ts'

async function all(events: AsyncIterable<StoredEvent>): Promise<readonly StoredEvent[]> {
  const found: StoredEvent[] = []
  for await (const stored of events) found.push(stored)
  return found
}

const shapeOf = (stored: readonly StoredEvent[]) =>
  stored.map(({ event, position, storedAt }) => ({ json: JSON.stringify(event), position, storedAt }))

describe('classes of events', () => {
  it('are registered by the options, a registry, repositories and subscriptions', async () => {
    await using scene = withFile()
    await appendNotes(scene.open(), 1)
    const first = async (stores: ReturnType<typeof scene.open>) =>
      (await stores.events.readPage()).events[0]?.event
    const registry = new EventRegistry()
    registry.register(Noted)

    expect(await first(scene.open({ events: [] }))).toBeInstanceOf(GenericEvent)
    expect(await first(scene.open({ events: [Noted] }))).toBeInstanceOf(Noted)
    expect(await first(scene.open({ events: [], registry }))).toBeInstanceOf(Noted)
    const subscribed = scene.open({ events: [] })
    const manager = new SubscriptionManager({
      eventStore: subscribed.events,
      checkpoints: subscribed.checkpoints,
    })
    manager.subscribe({ name: 'notes', handlers: [handlerFor(Noted, () => undefined)] })
    expect(await first(subscribed)).toBeInstanceOf(Noted)
  })

  it('of an aggregate are known to its repository after a restart', async () => {
    await using scene = withFile()
    const ordersOf = (stores: ReturnType<typeof scene.open>) =>
      new AggregateRepository({ eventStore: stores.events, aggregateFactory: Order, aggregateType: 'Order' })
    const orders = ordersOf(scene.open())
    const order = orders.createNew('Order-1')
    order.create('c-1')
    await orders.save(order)

    expect((await ordersOf(scene.open({ events: [] })).load('Order-1')).state.customerId).toBe('c-1')
  })

  it('that refuse a stored payload cause a fault in the feed, and an error in the stream', async () => {
    await using scene = withFile()
    await appendNotes(scene.open(), 1)
    const numeric = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: () => ({ issues: [{ message: 'must be a text', path: ['n'] }] }),
      },
    }
    class Strict extends defineEvent({ type: 'Noted', aggregateType: 'Note', schema: numeric }) {}
    const stores = scene.open({ events: [Strict] })

    const [stored] = (await stores.events.readPage()).events
    expect(stored?.event).toBeInstanceOf(GenericEvent)
    expect(stored?.fault).toMatchObject({ code: 'STORED_EVENT_INVALID', position: 1 })
    await expect(stores.events.getEvents('a0')).rejects.toThrow(/must be a text/)
  })
})

describe('the feed', () => {
  it('reads streams and pages that are longer than one chunk', async () => {
    await using scene = withFile()
    const stores = scene.open()
    const events = numbers(0, 1700).map((n) => new Noted({ aggregateId: 'long', n }))
    await stores.events.appendEvents({
      aggregateId: 'long',
      aggregateType: 'Note',
      events,
      expectedVersion: 0,
    })

    const stream = await stores.events.getEvents('long', { fromVersion: 3, toVersion: 1650 })
    expect(stream.events.map((event) => (event instanceof Noted ? event.n : undefined))).toEqual(
      numbers(3, 1650),
    )
    expect((await stores.events.readPage({ limit: 1700 })).events).toHaveLength(1700)
    expect(
      (await all(stores.events.readAll({ fromPosition: 10, limit: 1200 }))).map(({ position }) => position),
    ).toEqual(numbers(11, 1211))
  })

  it('uses an index for each filter', async () => {
    await using scene = withFile()
    const stores = scene.open()
    await appendNotes(stores, 3)
    const own = new DatabaseSync(scene.file)
    const planOf = (condition: string) =>
      own
        .prepare(
          `explain query plan select payload from eventspine_events where position > 5 and position <= 100 and ${condition} order by position limit 10`,
        )
        .all()
        .map((row) => String(row['detail']))
        .join('; ')

    expect(planOf("event_type in ('A')")).toMatch(
      /USING INDEX eventspine_events_by_type \(event_type=\? AND position>\? AND position<\?\)/,
    )
    expect(planOf("event_type in ('A', 'B')")).toContain('eventspine_events_by_type')
    expect(planOf("aggregate_type in ('A')")).toContain('eventspine_events_by_aggregate_type')
    expect(planOf("tenant_id in ('A')")).toContain('eventspine_events_by_tenant')
    expect(planOf("correlation_id in ('A')")).toContain('eventspine_events_by_correlation')
    own.close()
  })

  it('assigns no position twice, although the last events were rolled back or deleted', async () => {
    await using scene = withFile()
    const stores = scene.open()
    await appendNotes(stores, 2)
    const positions: number[] = []
    const undone = stores.transaction(async (tx) => {
      positions.push((await appendTo(tx.events, new Noted({ aggregateId: 'x', n: 1 }))).globalPosition)
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    await stores.events.deleteStream({ aggregateId: 'a1', aggregateType: 'Note' })
    const { events } = await stores.events.readPage()

    expect(events.map(({ event }) => event.eventType)).toEqual(['Noted', STREAM_DELETED])
    expect(await stores.events.headPosition()).toBe(events.at(-1)?.position)
    const reopened = scene.open()
    const next = await appendTo(reopened.events, new Noted({ aggregateId: 'y', n: 1 }))
    expect(next.globalPosition).toBeGreaterThan(events.at(-1)?.position ?? 0)
  })
})

describe('archiving', () => {
  it('removes events from the feed, and keeps them in their streams, among the ids and in the export', async () => {
    await using scene = withFile()
    const stores = scene.open()
    const notes = await appendNotes(stores, 6)
    const before = shapeOf(await all(stores.events.readAll()))

    // A misspelt target must not look like one without events.
    await expect(stores.events.archive({ upto: 2 } as never)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    })
    expect(await stores.events.archive({ aggregateId: 'a0', aggregateType: 'Note' })).toBe(2)
    expect((await stores.events.readPage()).events.map(({ position }) => position)).toEqual([2, 3, 5, 6])
    expect((await stores.events.getEvents('a0')).events).toHaveLength(2)
    expect(await stores.events.eventExists(notes[0]?.eventId ?? '')).toBe(true)
    expect(shapeOf(await all(stores.events.export()))).toEqual(before)
    const again = stores.events.appendEvents({
      ...{ aggregateId: 'a0', aggregateType: 'Note', expectedVersion: 0 },
      events: notes.slice(0, 1),
    })
    expect(await again).toEqual({ newVersion: 1, globalPosition: 1 })
    expect((await appendTo(stores.events, new Noted({ aggregateId: 'a0', n: 9 }))).newVersion).toBe(3)
  })

  it('archives a prefix of more than one batch, but no event that a subscription has not handled', async () => {
    await using scene = withFile()
    const stores = scene.open()
    const events = numbers(0, 2500).map((n) => new Noted({ aggregateId: 'long', n }))
    await stores.events.appendEvents({
      aggregateId: 'long',
      aggregateType: 'Note',
      events,
      expectedVersion: 0,
    })
    const checkpoint = { position: 2400, storeId: undefined, eventId: undefined, fence: undefined }
    await stores.checkpoints.save('late', checkpoint, undefined)

    expect(await stores.events.archive({ upTo: 2400 })).toBe(2400)
    await expect(stores.events.archive({ upTo: 2450 })).rejects.toMatchObject({
      code: 'SQLITE_ARCHIVE',
      subscription: 'late',
    })
    expect((await stores.events.readPage()).events).toHaveLength(100)
    expect(await stores.events.headPosition()).toBe(2500)
    expect((await stores.events.getEvents('long')).events).toHaveLength(2500)
    expect(await stores.events.positionBefore(new Date(0))).toBe(0)
    expect(await stores.events.positionBefore(new Date(Date.now() + 60_000))).toBe(2500)
  })
})

describe('import and export', () => {
  it('move all events with positions, versions and times to another file', async () => {
    await using from = withFile()
    await using to = withFile()
    const source = from.open()
    await appendNotes(source, 5)
    await source.events.deleteStream({ aggregateId: 'a1', aggregateType: 'Note' })
    await appendTo(source.events, new Noted({ aggregateId: 'late', n: 9 }))
    const target = to.open()

    expect(await target.events.import(source.events.export())).toBe(5)
    expect(shapeOf(await all(target.events.readAll()))).toEqual(shapeOf(await all(source.events.readAll())))
    expect((await target.events.getEvents('a1')).isDeleted).toBe(true)
    expect(await target.events.headPosition()).toBe(await source.events.headPosition())
  })

  it('can be repeated after an interruption, and refuse a store with other events', async () => {
    await using from = withFile()
    await using to = withFile()
    const source = from.open()
    await appendNotes(source, 4)
    const target = to.open()
    await target.events.import(source.events.readAll({ limit: 2 }))

    expect(await target.events.import(source.events.export())).toBe(2)
    await appendNotes(target, 1, 9)
    await appendNotes(source, 2, 4)
    await expect(target.events.import(source.events.export())).rejects.toMatchObject({
      code: 'SQLITE_IMPORT',
      position: 5,
    })
  })
})

describe('transactions', () => {
  it('provide a connection, so that tables of the user change together with the events or not at all', async () => {
    await using scene = withFile()
    const stores = scene.open()
    await stores.transaction(({ client }) => client.exec('create table sums (total integer) strict'))
    const failing = stores.transaction(({ client }) => {
      client.exec('insert into sums values (9)')
      throw new Error('not asynchronous')
    })
    await expect(failing).rejects.toThrow('not asynchronous')
    const pay = (amount: number, isAllowed: boolean) =>
      stores.transaction(async (tx) => {
        tx.client.prepare('insert into sums values (?)').run(amount)
        await appendTo(tx.events, new Noted({ aggregateId: 'sum', n: amount }))
        if (!isAllowed) throw new Error('not allowed')
      })
    await pay(1, true)
    await expect(pay(2, false)).rejects.toThrow('not allowed')

    expect(new DatabaseSync(scene.file).prepare('select total from sums').all()).toEqual([{ total: 1 }])
    expect((await stores.events.getEvents('sum')).version).toBe(1)
  })

  it('that the user opened on another connection are used, and detected when they are committed', async () => {
    await using scene = withFile()
    const stores = scene.open({ watchIntervalMs: 1 })
    await stores.ready()
    const woken = Promise.withResolvers<void>()
    stores.events.onAppend(
      () => void stores.events.headPosition().then((head) => head === 1 && woken.resolve()),
    )
    const client = new DatabaseSync(scene.file)
    client.exec('begin immediate')
    await appendTo(stores.within(client).events, new Noted({ aggregateId: 'a', n: 1 }))
    expect(await stores.events.headPosition()).toBe(0)
    client.exec('commit')

    await woken.promise
    client.exec('begin immediate')
    await appendTo(stores.within(client).events, new Noted({ aggregateId: 'a', n: 2 }))
    client.exec('rollback')
    expect((await stores.events.getEvents('a')).version).toBe(1)
    client.close()
  })

  it('refuse a connection of another copy of SQLite, because the locks of two copies break each other', async () => {
    await using scene = withFile()
    const BetterSqlite3 = createRequire(import.meta.url)('better-sqlite3')
    const client = new BetterSqlite3(':memory:')

    expect(() => scene.open().within(client)).toThrow(/within takes a connection of node:sqlite/)
    expect(() => scene.open({ driver: 'better-sqlite3' }).within(new DatabaseSync(':memory:'))).toThrow(
      TypeError,
    )
    client.close()
  })

  it('refuse a call on the stores, which would deadlock, and a call on a transaction that has ended', async () => {
    await using scene = withFile()
    const stores = scene.open()
    const escaped = await stores.transaction(async (tx) => {
      await expect(appendNotes(stores, 1)).rejects.toThrow(TransactionBypassError)
      await expect(stores.transaction(async () => undefined)).rejects.toThrow(TransactionBypassError)
      return tx
    })

    await expect(appendTo(escaped.events, new Noted({ aggregateId: 'a', n: 1 }))).rejects.toThrow(
      StoreClosedError,
    )
    await appendNotes(stores, 1)
  })
})

describe('closing', () => {
  it.each([true, false])('waits for calls in flight, and refuses later ones (worker: %s)', async (worker) => {
    await using scene = withFile()
    const stores = scene.open({ worker })
    const appending = appendNotes(stores, 1)
    const many = numbers(1, 50).map((n) => appendTo(stores.events, new Noted({ aggregateId: 'many', n })))
    await stores.ready()
    await Promise.all([appending, ...many, stores.close(), stores.close()])

    await expect(stores.events.headPosition()).rejects.toMatchObject({ code: 'STORE_CLOSED' })
    await expect(appendNotes(stores, 1)).rejects.toThrow(/is closed/)
    expect(await scene.open().events.headPosition()).toBe(50)
  })

  it('needs no opening', async () => {
    await using scene = withFile()
    await scene.open().close()
    await scene.open({ worker: true }).close()
  })
})

it('reports a listener that throws, and calls the others', async () => {
  await using scene = withFile()
  const logger = new RecordingLogger()
  const stores = scene.open({ logger })
  let calls = 0
  stores.events.onAppend(() => {
    throw new Error('no')
  })
  stores.events.onAppend(() => {
    calls += 1
  })
  await appendNotes(stores, 1)

  expect(calls).toBeGreaterThan(0)
  expect(logger.lines).toContainEqual(expect.objectContaining({ message: 'a listener of a store failed' }))
})

it.each([
  ['full', 2],
  ['normal', 1],
] as const)('waits for the disk as durability %s requires', async (durability, synchronous) => {
  await using scene = withFile()
  const stores = scene.open({ durability })

  await stores.transaction(async ({ client }) => {
    expect(client.prepare('pragma synchronous').get()).toEqual({ synchronous })
  })
})

it('refuses unknown options, and files in memory', async () => {
  await using scene = withFile()

  expect(() => scene.open({ file: '' })).toThrow(/file must be a non-empty string/)
  expect(() => scene.open({ file: ':memory:' })).toThrow(/use InMemoryStores/)
  expect(() => scene.open(JSON.parse('{"durability":"none","worker":1}'))).toThrow(
    /worker must be .*durability must be/,
  )
})

it.each([true, false])(
  'lets the event loop turn while it writes and reads without a pause (worker: %s)',
  async (worker) => {
    await using scene = withFile()
    const stores = scene.open({ worker, durability: 'normal' })
    await stores.ready()
    let turns = 0
    const timer = setInterval(() => {
      turns += 1
    }, 1)
    await appendNotes(stores, 400)
    const whileWriting = turns
    for (let round = 0; round < 200; round += 1) await stores.events.readPage()
    clearInterval(timer)

    expect(whileWriting, 'turns during 400 appends, one after the other').toBeGreaterThan(1)
    expect(turns - whileWriting, 'turns during 200 pages').toBeGreaterThan(1)
  },
)
