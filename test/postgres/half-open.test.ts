import { setImmediate as nextTurn } from 'node:timers/promises'
import { Client, Pool } from 'pg'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import {
  InMemoryCheckpointStore,
  StoreOutcomeUnknownError,
  StoreUnavailableError,
  SubscriptionManager,
} from '../../src/index.ts'
import {
  PostgresPoolExhaustedError,
  PostgresStores,
  type PostgresStoresOptions,
} from '../../src/postgres/index.ts'
import { noted } from '../../src/testing/conformance/events.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { freshSchema, openStores } from './postgres-scene.ts'

/** A pool whose connections are direct, while separate connections go through a proxy. */
async function poolBesideProxy() {
  const url = new URL(inject('postgresUrl'))
  const proxy = await TcpProxy.start({ host: url.hostname, port: Number(url.port) })
  const pool = new Pool({ connectionString: url.href, max: 3 })
  onTestFinished(async () => {
    proxy.close()
    await pool.end()
  })
  url.hostname = '127.0.0.1'
  url.port = String(proxy.port)
  const connect = () => pool.connect()
  return { proxy, pool: { connect, options: { connectionString: url.href }, Client } }
}

it('polls while its listening connection is half open, detects it in time, and listens again', {
  timeout: paced(60_000),
}, async () => {
  const { proxy, pool } = await poolBesideProxy()
  const schema = freshSchema()
  const logger = new RecordingLogger()
  await using writer = openStores({ schema })
  await writer.ready()
  const reader = openStores({ schema, pool, logger, pollIntervalMs: 60_000 })
  const manager = new SubscriptionManager({
    eventStore: reader.events,
    checkpoints: new InMemoryCheckpointStore(),
    logger: new RecordingLogger(),
  })
  onTestFinished(async () => {
    await manager.stop()
    await reader.close()
  })
  const handled = new Map<string, number>()
  const handle = ({ eventId }: { readonly eventId: string }) => void handled.set(eventId, performance.now())
  manager.subscribe({ name: 's', handle }, { pollIntervalMs: 300 })
  manager.start()
  const roundTrip = async () => {
    const event = noted('a')
    await writer.events.appendEvents({ ...event, events: [event], expectedVersion: 'any' })
    const start = performance.now()
    await expect.poll(() => handled.get(event.eventId), { timeout: paced(10_000), interval: 5 }).toBeDefined()
    return performance.now() - start
  }
  const said = (message: string) => logger.lines.filter((line) => line.message === message)
  await roundTrip()
  await expect.poll(async () => (await roundTrip()) < 150, { timeout: paced(10_000) }).toBe(true)

  proxy.freeze() // its packets vanish; connections that are made from now on work
  proxy.thaw()
  const frozenAt = performance.now()
  expect(await roundTrip()).toBeLessThan(paced(1000))
  await expect
    .poll(() => said('wake-ups by NOTIFY do not arrive, polling instead').length, { timeout: paced(15_000) })
    .toBe(1)
  const noticedMs = performance.now() - frozenAt
  await expect.poll(() => said('wake-ups by NOTIFY resumed').length, { timeout: paced(10_000) }).toBe(1)
  expect(await roundTrip()).toBeLessThan(paced(1000))

  expect(noticedMs).toBeLessThan(paced(15_000))
  expect(said('wake-ups by NOTIFY do not arrive, polling instead')).toHaveLength(1)
})

/** Stores whose connections all go through a proxy, with a full pool of connections that are idle. */
async function storesBehindProxy(options: PostgresStoresOptions) {
  const url = new URL(inject('postgresUrl'))
  const proxy = await TcpProxy.start({ host: url.hostname, port: Number(url.port) })
  url.hostname = '127.0.0.1'
  url.port = String(proxy.port)
  const stores = openStores({ postgresUrl: url.href, poolSize: 3, answerTimeoutMs: 300, ...options })
  onTestFinished(async () => {
    await stores.close()
    proxy.close()
  })
  await stores.ready()
  const all = Promise.withResolvers<void>()
  let open = 0
  const transactions = Array.from({ length: 3 }, () =>
    stores.transaction(async () => {
      open += 1
      if (open === 3) all.resolve()
      await all.promise
    }),
  )
  await Promise.all(transactions)
  return { proxy, stores }
}

type Appending = Pick<PostgresStores['events'], 'appendEvents'>

const append = ({ events }: { readonly events: Appending }, event = noted('a')) =>
  events.appendEvents({ ...event, events: [event], expectedVersion: 'any' })

/** The error of a call, which must come before the deadline. */
async function failureInTime(call: Promise<unknown>): Promise<unknown> {
  const start = performance.now()
  const failure = await call.then(
    () => 'it succeeded',
    (error: unknown) => error,
  )
  expect(performance.now() - start).toBeLessThan(paced(5000))
  return failure
}

it('ends an append on a half-open connection in time, and repeats it on one that works', {
  timeout: paced(30_000),
}, async () => {
  const { proxy, stores } = await storesBehindProxy({ wakeUp: 'poll' })
  await append(stores)
  proxy.freeze() // the packets of all connections of the pool vanish
  proxy.thaw()
  const event = noted('a')

  const failure = await failureInTime(append(stores, event))
  expect(failure).toBeInstanceOf(StoreOutcomeUnknownError)
  expect(failure).toMatchObject({ retryable: true, cause: { message: 'no answer within 300 ms' } })
  // The other connections of the pool are as dead.
  expect((await append(stores, event)).newVersion).toBe(2)
  expect((await stores.events.getEvents('a')).events).toHaveLength(2)
})

it.each<readonly [string, (stores: PostgresStores) => Promise<unknown>, new (...args: never[]) => Error]>([
  ['a read', ({ events }) => events.readPage(), StoreUnavailableError],
  ['the begin of a transaction', (stores) => stores.transaction(async () => 1), StoreUnavailableError],
  ['a lease', ({ leases }) => leases.acquire('lease', 'me', 1000), StoreOutcomeUnknownError],
  [
    'an import',
    ({ events }) =>
      events.import([{ event: noted('b').withAggregateVersion(1), position: 1, storedAt: new Date() }]),
    StoreOutcomeUnknownError,
  ],
])('ends %s on a half-open connection in time', { timeout: paced(30_000) }, async (_what, call, expected) => {
  const { proxy, stores } = await storesBehindProxy({})
  await stores.leases.acquire('other', 'me', 1000)
  proxy.freeze()
  proxy.thaw()

  expect(await failureInTime(call(stores))).toBeInstanceOf(expected)
})

it('ends an append in a transaction whose connection becomes half open, and the transaction with it', {
  timeout: paced(30_000),
}, async () => {
  const { proxy, stores } = await storesBehindProxy({})
  const work = stores.transaction(async (tx) => {
    await append(tx)
    proxy.freeze()
    proxy.thaw()
    await append(tx)
  })

  expect(await failureInTime(work)).toBeInstanceOf(StoreOutcomeUnknownError)
  expect((await stores.events.getEvents('a')).version).toBe(0)
})

it('reads an answer that arrived while the process was paused for longer than the limit', async () => {
  await using stores = openStores({ answerTimeoutMs: 300, wakeUp: 'poll' })
  await append(stores)
  await stores.transaction(async (tx) => {
    const appended = append(tx)
    await nextTurn() // the statement is sent
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000)
    expect((await appended).newVersion).toBe(2)
  })
})

it('says that a commit without an answer may be stored', { timeout: paced(30_000) }, async () => {
  const { proxy, stores } = await storesBehindProxy({})
  const work = stores.transaction(async (tx) => {
    await append(tx)
    proxy.silence('answers')
  })

  expect(await failureInTime(work)).toBeInstanceOf(StoreOutcomeUnknownError)
  proxy.silence(undefined)
  expect((await stores.events.getEvents('a')).version).toBe(1)
})

it('ends each call in time while nothing reaches the server, and closes', {
  timeout: paced(60_000),
}, async () => {
  const { proxy, stores } = await storesBehindProxy({ connectTimeoutMs: 300 })
  const pool = disposablePool(proxy.port)
  const ofGivenPool = new PostgresStores({
    ...{ pool, schema: freshSchema(), migrate: 'run', logger: new RecordingLogger() },
    ...{ connectTimeoutMs: 300, answerTimeoutMs: 300 },
  })
  await ofGivenPool.ready()
  proxy.freeze()

  expect(await failureInTime(append(stores))).toBeInstanceOf(StoreOutcomeUnknownError)
  expect(await failureInTime(append(stores))).toBeInstanceOf(StoreUnavailableError)
  expect(await failureInTime(append(ofGivenPool))).toBeInstanceOf(StoreOutcomeUnknownError)
  // Its only connection is still being opened.
  expect(await failureInTime(append(ofGivenPool))).toBeInstanceOf(PostgresPoolExhaustedError)
  await stores.close()
  await ofGivenPool.close()
})

/** A pool of the application without any limit of time. */
function disposablePool(port: number): Pool {
  const url = new URL(inject('postgresUrl'))
  url.hostname = '127.0.0.1'
  url.port = String(port)
  const pool = new Pool({ connectionString: url.href, max: 1 })
  pool.on('error', () => undefined)
  onTestFinished(() => void pool.end().catch(() => undefined))
  return pool
}

/** What the server sends before it closes a session at the command of an administrator. */
const TERMINATION = errorResponse({
  S: 'FATAL',
  V: 'FATAL',
  C: '57P01',
  M: 'terminating connection due to administrator command',
})

function errorResponse(fields: Readonly<Record<string, string>>): Buffer {
  const body = Buffer.from(
    `${Object.entries(fields)
      .map(([type, text]) => `${type}${text}\0`)
      .join('')}\0`,
  )
  const length = Buffer.alloc(4)
  length.writeInt32BE(body.length + 4)
  return Buffer.concat([Buffer.from('E'), length, body])
}

const READY_FOR_QUERY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

describe('a session that the server ends in the same packet as its answer, while the pool hands it out', () => {
  async function severed({ max }: { readonly max: number }) {
    const url = new URL(inject('postgresUrl'))
    const proxy = await TcpProxy.start({ host: url.hostname, port: Number(url.port) })
    url.hostname = '127.0.0.1'
    url.port = String(proxy.port)
    let isEnding = false
    let ended = 0
    proxy.rewriteAnswers((chunk) => {
      if (!isEnding || !chunk.subarray(-READY_FOR_QUERY.length).equals(READY_FOR_QUERY)) return chunk
      ended += 1
      return Buffer.concat([chunk, TERMINATION])
    })
    const pool = new Pool({ connectionString: url.href, max })
    pool.on('error', () => undefined)
    onTestFinished(async () => {
      await pool.end()
      proxy.close()
    })
    return {
      ...{ url: url.href, pool },
      end: (value: boolean) => {
        isEnding = value
      },
      ended: () => ended,
    }
  }

  it.each(['own pool', 'given pool'] as const)(
    'fails the call of a new connection, which stored nothing: %s',
    async (kind) => {
      const { url, pool, end, ended } = await severed({ max: 3 })
      const options = kind === 'own pool' ? { postgresUrl: url } : { pool }
      await using stores = openStores({ ...options, wakeUp: 'poll' })
      await stores.ready()
      const open = Promise.withResolvers<void>()
      const first = stores.transaction(() => open.promise) // holds the only connection
      end(true)

      const failure = await failureInTime(append(stores))
      end(false)
      open.resolve()
      await first
      expect(ended()).toBe(1)
      expect(failure).toBeInstanceOf(StoreUnavailableError)
      expect(failure).toMatchObject({ retryable: true, cause: { code: '57P01' } })
      expect((await append(stores)).newVersion).toBe(1)
    },
  )

  it('fails the call that waited for a connection of the application', async () => {
    const { pool, end, ended } = await severed({ max: 1 })
    await using stores = openStores({ pool, wakeUp: 'poll' })
    await stores.ready()
    end(true)

    // The pool passes the connection on as soon as it has read the answer.
    const query = pool.query('select 1')
    const failure = await failureInTime(append(stores))
    await query
    end(false)
    expect(ended()).toBe(1)
    expect(failure).toBeInstanceOf(StoreUnavailableError)
    expect((await append(stores)).newVersion).toBe(1)
  })
})
