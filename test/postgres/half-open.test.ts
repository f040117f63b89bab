import { Client, Pool } from 'pg'
import { expect, inject, it, onTestFinished } from 'vitest'
import { InMemoryCheckpointStore, SubscriptionManager } from '../../src/index.ts'
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
