import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { DatabaseSync } from 'node:sqlite'
import type { DomainEvent } from 'eventspine'
import {
  type SqliteConnection,
  SqliteStores,
  type SqliteStoresOptions,
  sqliteMigrationSql,
} from 'eventspine/sqlite'
import { sized } from '../arguments.ts'
import { compare, rate, type Step } from '../harness.ts'
import { effectSteps } from './effects.ts'
import {
  concurrently,
  freshId,
  OrderPlaced,
  OrderShipped,
  once,
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

const FEED = sized(100_000)

type Bare = ReturnType<typeof openBare>

/** The same events in a store and in the bare tables: one of 1,000 is an `OrderShipped`. */
async function openFeed(): Promise<{ readonly stores: SqliteStores; readonly bare: Bare }> {
  const [stores, bare] = [open({ durability: 'normal' }), openBare()]
  for (let start = 0; start < FEED; start += 1000) {
    const aggregateId = freshId()
    const shipped = new OrderShipped({ aggregateId, n: start })
    const events = [...placedTimes(999, aggregateId), shipped]
    await append(stores, events)
    bare.write(events)
  }
  return { stores, bare }
}

const bareAppends = (bare: Bare, size: number, count: number) =>
  rate(count * size, async () => {
    for (let done = 0; done < count; done += 1) bare.write(placedTimes(size))
  })
const appends = (stores: SqliteStores, size: number, count: number) =>
  rate(count * size, async () => {
    for (let done = 0; done < count; done += 1) await append(stores, placedTimes(size))
  })
const callers = (stores: SqliteStores) => {
  const count = sized(6000)
  return rate(count, () => concurrently(count, 64, () => append(stores, [placed()])))
}

/** Each row has files of its own: what an append costs depends on how large they are. */
function row(work: string, size: number, count: number, options?: Partial<SqliteStoresOptions>): Step {
  const [stores, bare] = [once(async () => open(options)), once(async () => openBare())]
  return compare({
    work,
    unit: 'events/s',
    ours: async () => appends(await stores(), size, count),
    raw: async () => bareAppends(await bare(), size, count),
  })
}

function callersRow(work: string, options?: Partial<SqliteStoresOptions>): Step {
  const [stores, bare] = [once(async () => open(options)), once(async () => openBare())]
  return compare({
    work,
    unit: 'events/s',
    ours: async () => callers(await stores()),
    raw: async () => bareAppends(await bare(), 1, sized(1500)),
  })
}

export async function openSqliteBench(): Promise<StoreBench> {
  const feed = once(openFeed)
  const [worker, main] = [once(async () => open()), once(async () => open({ worker: false }))]
  const loaded = once(async () => open())
  const stalls = (work: string, run: () => Promise<unknown>): Step =>
    compare({
      work: `longest stall of the event loop, ${work}`,
      peer: 'an idle loop',
      unit: 'ms',
      ours: () => longestStall(run),
      raw: () => longestStall(() => new Promise((resolve) => setTimeout(resolve, 1000))),
      rounds: 3,
    })
  const target = once(async () => open({ durability: 'full' }))
  return {
    versions: { SQLite: String(process.versions['sqlite'] ?? 'of Node.js') },
    steps: [
      row('append, 1 event after another', 1, sized(1500)),
      row('append, 1 event after another, on the main thread', 1, sized(1500), { worker: false }),
      row('append, 100 events at a time', 100, sized(80)),
      row('append, 1,000 events at a time', 1000, sized(10)),
      callersRow('append, 64 callers'),
      callersRow('append, 64 callers, on the main thread', { worker: false }),
      compare({
        work: 'delay of the event loop, 99th percentile, 64 callers',
        peer: 'the main thread',
        unit: 'ms',
        ours: async () => delayOf(await worker(), 0.99),
        raw: async () => delayOf(await main(), 0.99),
      }),
      stalls('64 callers', async () => callers(await worker())),
      stalls('import', async () => {
        const events = (await feed()).stores.events.readAll({ limit: 10_000 })
        return (await target()).events.import(events)
      }),
      stalls('reading the feed', async () => readAll((await feed()).stores)),
      compare({
        work: 'feed, decoded',
        peer: 'the bare rows',
        unit: 'events/s',
        ours: async () => readAll((await feed()).stores),
        raw: async () => readBare((await feed()).bare.db),
      }),
      compare({
        work: 'page of 500 at nine tenths of the feed',
        peer: 'the first page',
        unit: 'ms',
        ours: async () => timeOfPage((await feed()).stores, FEED * 0.9),
        raw: async () => timeOfPage((await feed()).stores, 0),
      }),
      compare({
        work: 'feed, 1 event in 1,000',
        unit: 'events/s',
        ours: async () => readAll((await feed()).stores, ['OrderShipped'], FEED / 1000),
        raw: async () => readBare((await feed()).bare.db, "event_type = 'OrderShipped' and", FEED / 1000),
      }),
      compare({
        work: 'load a stream of 100',
        unit: 'ms',
        ours: async () => loadTime(await loaded()),
        raw: async () => bareLoadTime((await feed()).bare),
      }),
      compare({
        work: 'commit of another connection until it is read',
        peer: 'the append alone',
        unit: 'ms',
        ours: () => latency(),
        raw: async () => 1000 / (await appends(await worker(), 1, sized(300))),
      }),
      importRow(feed),
      ...effectSteps({
        open: async () => open(),
        write: (client: SqliteConnection) => {
          client.exec('create table if not exists bench_effects (n integer)')
          client.exec('insert into bench_effects values (1)')
        },
      }),
    ],
    async close() {
      for (const stores of opened) await stores.close()
      rmSync(folder, { recursive: true })
    },
  }
}

function importRow(feed: () => Promise<{ readonly stores: SqliteStores }>): Step {
  const count = Math.min(FEED, 20_000)
  return compare({
    work: 'import',
    peer: 'transactions of 1,000',
    unit: 'events/s',
    ours: async () => {
      const events = (await feed()).stores.events.readAll({ limit: count })
      const stores = open()
      await stores.ready()
      return rate(count, () => stores.events.import(events))
    },
    raw: () => bareAppends(openBare(), 1000, count / 1000),
    rounds: 3,
  })
}

/** Runs work while the delays of the event loop are measured. @returns the monitor, in nanoseconds. */
async function monitored(work: () => Promise<unknown>) {
  const monitor = monitorEventLoopDelay({ resolution: 1 })
  monitor.enable()
  await work()
  monitor.disable()
  return monitor
}

const delayOf = async (stores: SqliteStores, quantile: number): Promise<number> =>
  (await monitored(() => callers(stores))).percentile(quantile * 100) / 1e6

const longestStall = async (work: () => Promise<unknown>): Promise<number> =>
  (await monitored(work)).max / 1e6

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

async function bareLoadTime({ db, write }: Bare): Promise<number> {
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
async function latency(): Promise<number> {
  files += 1
  const file = join(folder, `${files}.db`)
  const [writer, reader] = [0, 1].map(() => new SqliteStores({ file, events: [OrderPlaced] }))
  if (writer === undefined || reader === undefined) throw new Error('two objects were opened')
  opened.push(writer, reader)
  await Promise.all([writer.ready(), reader.ready()])
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
