import type { Client } from 'pg'
import { expect, inject, it, onTestFinished } from 'vitest'
import { ConfigError, handlerFor, InMemoryCheckpointStore, SubscriptionManager } from '../../src/index.ts'
import { Noted, noted } from '../../src/testing/conformance/events.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

/** A table with a sum, which the handlers of a test change, in the schema of the stores. */
async function sumTable(schema: string) {
  const client: Client = await connected()
  onTestFinished(() => client.end())
  await client.query(`create schema "${schema}"; create table "${schema}".sums (total integer not null)`)
  await client.query(`insert into "${schema}".sums values (0)`)
  return {
    add: `update "${schema}".sums set total = total + $1`,
    total: async () => {
      const { rows } = await client.query(`select total from "${schema}".sums`)
      return Number(rows[0].total)
    },
  }
}

const append = ({ events }: Pick<ReturnType<typeof openStores>, 'events'>, n: number) => {
  const event = noted(`a${n % 5}`, n)
  return events.appendEvents({ ...event, events: [event], expectedVersion: 'any' })
}

it('adds once what was committed when the answer to the commit was lost', {
  timeout: paced(60_000),
}, async () => {
  const schema = freshSchema()
  const sums = await sumTable(schema)
  const url = new URL(inject('postgresUrl'))
  const proxy = await TcpProxy.start({ host: url.hostname, port: Number(url.port) })
  onTestFinished(() => proxy.close())
  url.hostname = '127.0.0.1'
  url.port = String(proxy.port)
  await using stores = openStores({ schema, postgresUrl: url.href, answerTimeoutMs: 500 })
  const logger = new RecordingLogger()
  await using manager = new SubscriptionManager({
    eventStore: stores.events,
    checkpoints: stores.checkpoints,
    logger,
  })
  const runs: number[] = []
  const projection = stores.projection({
    name: 'sums',
    handlers: [
      handlerFor(Noted, async ({ n }, { tx }) => {
        await tx.client.query({ text: sums.add, values: [n] })
        runs.push(n)
        if (n === 2 && runs.length === 2) proxy.silence('answers')
      }),
    ],
  })
  manager.subscribe(projection, { retryBaseDelayMs: 10, pollIntervalMs: 50 })
  manager.start()
  await using writer = openStores({ schema })
  for (let n = 1; n <= 3; n += 1) await append(writer, n)
  await expect
    .poll(() => logger.lines.some(({ message }) => message === 'handler failed'), { timeout: paced(20_000) })
    .toBe(true)
  proxy.silence(undefined)
  await manager.whenCaughtUp('sums')

  expect(await sums.total()).toBe(6)
  expect(runs).toEqual([1, 2, 3])
})

it('switches the readers once when the answer to the commit of the switch was lost', {
  timeout: paced(60_000),
}, async () => {
  const schema = freshSchema()
  const sums = await sumTable(schema)
  const url = new URL(inject('postgresUrl'))
  const proxy = await TcpProxy.start({ host: url.hostname, port: Number(url.port) })
  onTestFinished(() => proxy.close())
  url.hostname = '127.0.0.1'
  url.port = String(proxy.port)
  await using stores = openStores({ schema, postgresUrl: url.href, answerTimeoutMs: 500 })
  await using manager = new SubscriptionManager({
    eventStore: stores.events,
    checkpoints: stores.checkpoints,
    logger: new RecordingLogger(),
  })
  const handled: string[] = []
  const named = (label: string) => handlerFor(Noted, ({ n }) => void handled.push(`${label} ${n}`))
  manager.subscribe(stores.projection({ name: 'sums', handlers: [named('old')] }), {
    retryBaseDelayMs: 10,
    pollIntervalMs: 50,
  })
  manager.start()
  await using writer = openStores({ schema })
  await manager.whenProcessed((await append(writer, 1)).globalPosition)
  let switches = 0
  const into = stores.projection({
    name: 'sums',
    handlers: [named('new')],
    switchReaders: async (tx) => {
      await tx.client.query({ text: sums.add, values: [1] })
      switches += 1
      if (switches === 1) proxy.silence('answers')
    },
  })
  const rebuilding = manager.rebuild('sums', { into })
  await expect.poll(() => sums.total(), { timeout: paced(20_000) }).toBe(1)
  proxy.silence(undefined)
  await rebuilding
  await manager.whenProcessed((await append(writer, 2)).globalPosition)

  expect(await sums.total()).toBe(1)
  expect(handled).toEqual(['old 1', 'new 1', 'new 2'])
})

it('adds each event once over kills of its connections', { timeout: paced(60_000) }, async () => {
  const schema = freshSchema()
  const sums = await sumTable(schema)
  await using stores = openStores({ schema })
  let last = 0
  for (let n = 1; n <= 100; n += 1) last = (await append(stores, n)).globalPosition
  const url = new URL(inject('postgresUrl'))
  url.searchParams.set('application_name', schema)
  await using projecting = openStores({ schema, postgresUrl: url.href })
  await using manager = new SubscriptionManager({
    eventStore: projecting.events,
    checkpoints: projecting.checkpoints,
    logger: new RecordingLogger(),
  })
  let runs = 0
  const projection = projecting.projection({
    name: 'sums',
    handlers: [
      handlerFor(Noted, async ({ n }, { tx }) => {
        await tx.client.query({ text: sums.add, values: [n] })
        runs += 1
      }),
    ],
  })
  manager.subscribe(projection, { retryBaseDelayMs: 5, maxRetries: 1000, pollIntervalMs: 50 })
  manager.start()
  await using killer = await connected()
  for (let kill = 1; kill <= 5; kill += 1) {
    await expect.poll(() => runs, { timeout: paced(20_000), interval: 1 }).toBeGreaterThanOrEqual(kill * 15)
    await killer.query('select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1', [
      schema,
    ])
  }
  await manager.whenProcessed(last, 'sums')

  expect(await sums.total()).toBe(5050)
})

it('refuses a manager with other checkpoints, and more than one event at a time', async () => {
  await using stores = openStores()
  const manager = new SubscriptionManager({
    eventStore: stores.events,
    checkpoints: new InMemoryCheckpointStore(),
    logger: new RecordingLogger(),
  })
  const projection = stores.projection({ name: 'sums', handlers: [handlerFor(Noted, () => undefined)] })

  expect(() => manager.subscribe(projection, { concurrency: 2 })).toThrow(ConfigError)
  expect(() => manager.subscribe(projection)).toThrow(/the manager needs the checkpoints of the same stores/)
})
