import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { DatabaseSync } from 'node:sqlite'
import type { DomainEvent } from 'eventspine'
import { SqliteStores, type SqliteStoresOptions, sqliteMigrationSql } from 'eventspine/sqlite'
import { sized } from '../arguments.ts'
import { compare, rate } from '../harness.ts'
import {
  concurrently,
  freshId,
  OrderPlaced,
  OrderShipped,
  placed,
  placedTimes,
  type StoreBench,
} from './store-bench.ts'

const folder = mkdtempSync(join(tmpdir(), 'eventspine-bench-'))
const opened: SqliteStores[] = []
let files = 0

function open(options: Partial<SqliteStoresOptions> = {}): SqliteStores {
  files += 1
  const file = join(folder, `${files}.db`)
  const stores = new SqliteStores({ file, events: [OrderPlaced, OrderShipped], ...options })
  opened.push(stores)
  return stores
}

/** The bare driver on the same tables and indexes, with naive inserts. */
function openBare() {
  files += 1
  const db = new DatabaseSync(join(folder, `${files}.db`))
  db.exec('pragma journal_mode = wal; pragma synchronous = full')
  db.exec(sqliteMigrationSql())
  const insert = db.prepare(
    `insert into eventspine_events (event_id, event_type, event_version, aggregate_type, aggregate_id, aggregate_version,
       correlation_id, occurred_at, stored_at, payload) values (?, ?, 1, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const write = (events: readonly DomainEvent[]) => {
    db.exec('begin immediate')
    for (const [index, event] of events.entries()) {
      const { eventId, eventType, aggregateType, aggregateId, correlationId, occurredAt } = event
      const ids = [eventId, eventType, aggregateType, aggregateId] as const
      insert.run(
        ...ids,
        index + 1,
        correlationId,
        occurredAt.toISOString(),
        Date.now(),
        JSON.stringify(event),
      )
    }
    db.exec('commit')
  }
  return { db, write }
}

const append = (
  stores: SqliteStores,
  events: readonly DomainEvent[],
  aggregateId = events[0]?.aggregateId ?? '',
) => stores.events.appendEvents({ aggregateId, aggregateType: 'Order', events, expectedVersion: 'noStream' })

const FEED = sized(200_000)

export async function openSqliteBench(): Promise<StoreBench> {
  const [worker, main, bare] = [open(), open({ worker: false }), openBare()]
  await Promise.all([worker.ready(), main.ready()])
  const [feed, bareFeed] = [open({ durability: 'normal' }), openBare()]
  for (let start = 0; start < FEED; start += 1000) {
    const aggregateId = freshId()
    const shipped = new OrderShipped({ aggregateId, n: start })
    const events = [...placedTimes(999, aggregateId), shipped]
    await append(feed, events)
    bareFeed.write(events)
  }
  const bareAppends = (size: number, count: number) => () =>
    rate(count * size, async () => {
      for (let done = 0; done < count; done += 1) bare.write(placedTimes(size))
    })
  const appends = (stores: SqliteStores, size: number, count: number) => () =>
    rate(count * size, async () => {
      for (let done = 0; done < count; done += 1) await append(stores, placedTimes(size))
    })
  const callers = (stores: SqliteStores) => () => {
    const count = sized(20_000)
    return rate(count, () => concurrently(count, 64, () => append(stores, [placed()])))
  }
  const [one, hundred, thousand] = [sized(2000), sized(200), sized(20)]
  const row = (work: string, size: number, count: number, stores = worker) =>
    compare({ work, unit: 'events/s', ours: appends(stores, size, count), raw: bareAppends(size, count) })
  return {
    versions: {
      'Node.js': process.versions.node,
      SQLite: String(process.versions['sqlite'] ?? 'of Node.js'),
    },
    steps: [
      row('append, 1 event after another', 1, one),
      row('append, 1 event after another, on the main thread', 1, one, main),
      row('append, 100 events at a time', 100, hundred),
      row('append, 1,000 events at a time', 1000, thousand),
      compare({
        work: 'append, 64 callers',
        unit: 'events/s',
        ours: callers(worker),
        raw: bareAppends(1, one),
      }),
      compare({
        work: 'append, 64 callers, on the main thread',
        unit: 'events/s',
        ours: callers(main),
        raw: bareAppends(1, one),
      }),
      compare({
        work: 'delay of the event loop, 99th percentile, 64 callers',
        peer: 'the main thread',
        unit: 'ms',
        ours: () => stallOf(callers(worker)),
        raw: () => stallOf(callers(main)),
      }),
      compare({
        work: 'feed, decoded',
        unit: 'events/s',
        ours: () => readAll(feed),
        raw: () => readBare(bareFeed.db),
      }),
      compare({
        work: 'page of 500 at nine tenths of the feed',
        peer: 'the first page',
        unit: 'ms',
        ours: () => timeOfPage(feed, FEED * 0.9),
        raw: () => timeOfPage(feed, 0),
      }),
      compare({
        work: 'feed, 1 event in 1,000',
        unit: 'events/s',
        ours: () => readAll(feed, ['OrderShipped'], FEED / 1000),
        raw: () => readBare(bareFeed.db, "event_type = 'OrderShipped' and", FEED / 1000),
      }),
      compare({
        work: 'load a stream of 100',
        unit: 'ms',
        ours: () => loadTime(worker),
        raw: () => bareLoadTime(bare),
      }),
      compare({
        work: 'commit of another connection until it is read',
        peer: 'the append alone',
        unit: 'ms',
        ours: () => latency(worker),
        raw: async () => 1000 / (await appends(worker, 1, sized(500))()),
      }),
      compare({
        work: 'import',
        unit: 'events/s',
        ours: () => rate(FEED, () => open({ durability: 'full' }).events.import(feed.events.export())),
        raw: bareAppends(1000, FEED / 1000),
        rounds: 3,
      }),
    ],
    async close() {
      for (const stores of opened) await stores.close()
      rmSync(folder, { recursive: true })
    },
  }
}

async function stallOf(work: () => Promise<unknown>): Promise<number> {
  const monitor = monitorEventLoopDelay({ resolution: 1 })
  monitor.enable()
  await work()
  monitor.disable()
  return monitor.percentile(99) / 1e6
}

function readAll(stores: SqliteStores, eventTypes?: readonly string[], count = FEED): Promise<number> {
  return rate(count, async () => {
    for (let fromPosition = 0; ; ) {
      const { events } = await stores.events.readPage({ fromPosition, eventTypes })
      const last = events.at(-1)
      if (last === undefined) return
      fromPosition = last.position
    }
  })
}

function readBare(db: DatabaseSync, condition = '', count = FEED): Promise<number> {
  const page = db.prepare(
    `select * from eventspine_events where ${condition} position > ? order by position limit 500`,
  )
  return rate(count, async () => {
    for (let from = 0; ; ) {
      const last = page.all(from).at(-1)
      if (last === undefined) return
      from = Number(last['position'])
    }
  })
}

async function timeOfPage(stores: SqliteStores, fromPosition: number): Promise<number> {
  const start = performance.now()
  for (let round = 0; round < 20; round += 1) await stores.events.readPage({ fromPosition })
  return (performance.now() - start) / 20
}

async function loadTime(stores: SqliteStores): Promise<number> {
  const aggregateId = freshId()
  await append(stores, placedTimes(100, aggregateId))
  const start = performance.now()
  for (let round = 0; round < 50; round += 1)
    await stores.events.getEvents(aggregateId, { aggregateType: 'Order' })
  return (performance.now() - start) / 50
}

async function bareLoadTime({ db, write }: ReturnType<typeof openBare>): Promise<number> {
  const aggregateId = freshId()
  write(placedTimes(100, aggregateId))
  const stream = db.prepare(
    'select * from eventspine_events where aggregate_id = ? and aggregate_type = ? order by aggregate_version',
  )
  const start = performance.now()
  for (let round = 0; round < 50; round += 1) stream.all(aggregateId, 'Order')
  return (performance.now() - start) / 50
}

/** From before the append through one object until another object on the file has read the event, in the median. */
async function latency(stores: SqliteStores): Promise<number> {
  files += 1
  const file = join(folder, `${files}.db`)
  const [writer, reader] = [0, 1].map(() => new SqliteStores({ file, events: [OrderPlaced] }))
  if (writer === undefined || reader === undefined) throw new Error('two objects were opened')
  opened.push(writer, reader)
  await Promise.all([writer.ready(), reader.ready(), stores.ready()])
  const times: number[] = []
  for (let round = 0; round < sized(200); round += 1) {
    const seen = Promise.withResolvers<void>()
    const end = reader.events.onAppend(async () => {
      if ((await reader.events.headPosition()) > round) seen.resolve()
    })
    const start = performance.now()
    await append(writer, [placed()])
    await seen.promise
    times.push(performance.now() - start)
    end()
  }
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0
}
