import { Pool, type PoolClient } from 'pg'
import { expect, inject, it, onTestFinished } from 'vitest'
import { AggregateRepository, OptimisticLockError, StoreOutcomeUnknownError } from '../../src/index.ts'
import {
  PostgresSnapshotTooOldError,
  PostgresStores,
  PostgresTransactionAbortedError,
} from '../../src/postgres/index.ts'
import { Order } from '../support/order-aggregate.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { waitFor } from '../support/wait-for.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

const appendTo = (
  events: { appendEvents: ReturnType<typeof openStores>['events']['appendEvents'] },
  id: string,
  expectedVersion = 0,
) =>
  events.appendEvents({
    aggregateId: id,
    aggregateType: 'Order',
    events: [orderCreated(id)],
    expectedVersion,
  })

it('keeps the transaction of the caller usable after a conflict', async () => {
  await using stores = openStores()
  await appendTo(stores.events, 'taken')
  await using client = await connected()
  await client.query('create temporary table accounts (name text)')

  await client.query('begin')
  const tx = stores.within(client)
  await expect(appendTo(tx.events, 'taken')).rejects.toBeInstanceOf(OptimisticLockError)
  await client.query("insert into accounts values ('kept')")
  await appendTo(tx.events, 'free')
  expect(await stores.events.eventExists('free')).toBe(false)
  await client.query('commit')

  expect((await client.query('select name from accounts')).rows).toEqual([{ name: 'kept' }])
  expect((await stores.events.getEvents('free')).version).toBe(1)
})

it('commits an aggregate and rows of the caller together, or neither', async () => {
  await using stores = openStores({ events: [OrderCreated] })
  await stores.ready()
  const orders = new AggregateRepository({
    eventStore: stores.events,
    aggregateFactory: Order,
    aggregateType: 'Order',
  })
  await using client = await connected()
  await client.query('create temporary table totals (id text)')
  for (const end of ['rollback', 'commit']) {
    const order = orders.createNew(`Order-${end}`)
    order.create('c1')
    await client.query('begin')
    await orders.within(stores.within(client)).save(order)
    await client.query('insert into totals values ($1)', [end])
    await client.query(end)
  }

  expect(await orders.exists('Order-rollback')).toBe(false)
  expect(await orders.exists('Order-commit')).toBe(true)
  expect((await client.query('select id from totals')).rows).toEqual([{ id: 'commit' }])
})

it('provides the client of the transaction with the type of the client of the pool', async () => {
  await using pool = Object.assign(new Pool({ connectionString: inject('postgresUrl') }), {
    [Symbol.asyncDispose]: () => pool.end(),
  })
  await using stores = new PostgresStores({ pool, schema: freshSchema(), migrate: 'run' })

  const answer = await stores.transaction(async (tx) => {
    const client: PoolClient = tx.client
    const { rows } = await client.query<{ n: number }>('select $1::int as n', [7])
    return rows[0]?.n
  })

  expect(answer).toBe(7)
})

it('rejects if the work continued after a statement had failed', async () => {
  await using stores = openStores()
  const work = stores.transaction(async (tx) => {
    await appendTo(tx.events, 'lost')
    await tx.client.query({ text: 'select no_such_column' }).catch(() => undefined)
  })

  await expect(work).rejects.toBeInstanceOf(PostgresTransactionAbortedError)
  expect((await stores.events.getEvents('lost')).version).toBe(0)
})

it('appends in REPEATABLE READ, and reports a snapshot that is older than the stream', async () => {
  await using stores = openStores()
  await appendTo(stores.events, 'a')
  await using client = await connected()

  await client.query('begin isolation level repeatable read')
  const tx = stores.within(client)
  expect((await tx.events.getEvents('a')).version).toBe(1)
  await appendTo(stores.events, 'a', 1)
  await expect(appendTo(tx.events, 'a', 1)).rejects.toBeInstanceOf(PostgresSnapshotTooOldError)
  await appendTo(tx.events, 'b')
  await client.query('commit')

  expect((await stores.events.getEvents('b')).version).toBe(1)
})

it('undoes an append with its savepoint, and accepts the next one', async () => {
  await using stores = openStores()
  await stores.ready()
  await using client = await connected()
  await client.query('begin')
  const tx = stores.within(client)
  await client.query('savepoint s')
  await appendTo(tx.events, 'undone')
  await client.query('rollback to savepoint s')
  await appendTo(tx.events, 'kept')
  await appendTo(stores.events, 'other')
  // The first append had entered the register, and the savepoint has taken that back.
  expect(await stores.events.headPosition()).toBe(0)
  await client.query('commit')

  expect((await stores.events.readPage()).events.map(({ event }) => event.aggregateId)).toEqual([
    'kept',
    'other',
  ])
})

it('reports an unknown outcome when the response to a commit is lost', async () => {
  const schema = freshSchema()
  await using direct = openStores({ schema })
  await direct.ready()
  const url = new URL(inject('postgresUrl'))
  const proxy = await TcpProxy.start({ host: url.hostname, port: Number(url.port) })
  onTestFinished(() => proxy.close())
  url.hostname = '127.0.0.1'
  url.port = String(proxy.port)
  const pool = new Pool({ connectionString: url.href })
  onTestFinished(() => pool.end())
  pool.on('error', () => undefined)
  await using stores = openStores({ schema, pool, wakeUp: 'poll' })
  await stores.ready()
  const work = stores.transaction(async (tx) => {
    await appendTo(tx.events, 'a')
    proxy.loseAnswers(true)
  })
  const outcome = work.catch((error: unknown) => error)
  await waitFor(async () => (await direct.events.getEvents('a')).version === 1)
  proxy.loseAnswers(false)
  proxy.cut()

  expect(await outcome).toBeInstanceOf(StoreOutcomeUnknownError)
})

it('ends its own transaction that is idle for too long', async () => {
  await using stores = openStores({ idleTransactionTimeoutMs: 200 })
  const idle = Promise.withResolvers<void>()
  const session = Promise.withResolvers<unknown>()
  const work = stores.transaction(async (tx) => {
    await appendTo(tx.events, 'a')
    const { rows } = await tx.client.query({ text: 'select pg_backend_pid() as pid' })
    session.resolve(Reflect.get(Object(rows[0]), 'pid'))
    await idle.promise
  })
  await using other = await connected()
  const pid = await session.promise
  await waitFor(async () => {
    const { rowCount } = await other.query('select 1 from pg_stat_activity where pid = $1', [pid])
    return rowCount === 0
  })
  idle.resolve()

  await expect(work).rejects.toMatchObject({ retryable: true })
  expect(await stores.events.headPosition()).toBe(0)
})

it('lets the server end a statement of the caller in time, and rolls back', async () => {
  await using stores = openStores({ transactionStatementTimeoutMs: 50 })
  const work = stores.transaction(async (tx) => {
    await appendTo(tx.events, 'slow')
    await tx.client.query({ text: 'select pg_sleep(600)' })
  })

  await expect(work).rejects.toMatchObject({ code: '57014' })
  expect(await stores.events.eventExists('slow')).toBe(false)
})

it('logs once that a transaction stays open', async () => {
  const logger = new RecordingLogger()
  await using stores = openStores({ answerTimeoutMs: 200, logger })
  await stores.ready()
  await stores.transaction(async () => {
    await waitFor(() => logger.lines.some(({ message }) => message === 'transaction still open'))
  })

  const lines = logger.lines.filter(({ message }) => message === 'transaction still open')
  expect(lines).toEqual([expect.objectContaining({ level: 'warn', fields: { openForMs: 200 } })])
})
