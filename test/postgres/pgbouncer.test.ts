import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import type { PostgresStores } from '../../src/postgres/index.ts'
import { noted } from '../../src/testing/conformance/events.ts'
import { describeEventStore } from '../../src/testing/index.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { launchPgBouncer } from './pgbouncer.ts'
import { freshSchema, openStores } from './postgres-scene.ts'
import { startWriter } from './writer-process.ts'

let url = ''
let stop: () => Promise<void> = async () => undefined
beforeAll(async () => {
  const bouncer = await launchPgBouncer(inject('postgresUrl'))
  url = bouncer.url
  stop = () => Promise.resolve(bouncer[Symbol.asyncDispose]())
})
afterAll(() => stop())

const owners = new Map<unknown, { readonly stores: PostgresStores; readonly schema: string }>()

function open(schema: string, events: Parameters<typeof openStores>[0]): PostgresStores['events'] {
  const options = { prepare: false, wakeUp: 'poll', pollIntervalMs: 50, migrate: 'run' } as const
  const stores = openStores({ ...options, postgresUrl: url, schema, ...events })
  owners.set(stores.events, { stores, schema })
  return stores.events
}

describe('through PgBouncer in transaction mode', () => {
  describeEventStore('PostgreSQL', {
    runner: { describe, it },
    create: (events) => open(freshSchema(), { events }),
    another: (store) => open(owners.get(store)?.schema ?? '', {}),
    transaction: (store, work) => {
      const stores = owners.get(store)?.stores
      if (stores === undefined) throw new Error('not a store of this suite')
      return stores.transaction((tx) => work(tx.events))
    },
    startWriter: (store) => startWriter(url, owners.get(store)?.schema ?? '', false),
    close: (store) => store.close(),
    writers: 20,
    timeoutMs: paced(120_000),
  })

  it('logs once that notifications do not arrive, and polls', async () => {
    const logger = new RecordingLogger()
    const schema = freshSchema()
    await using stores = openStores({ postgresUrl: url, schema, prepare: false, pollIntervalMs: 50, logger })
    await stores.ready()
    const warnings = () => logger.lines.filter(({ level }) => level === 'warn')
    let woken = 0
    stores.events.onAppend(() => {
      woken += 1
    })
    await expect.poll(() => warnings().length, { timeout: paced(20_000) }).toBe(1)
    expect(warnings()[0]).toMatchObject({
      message: 'wake-ups by NOTIFY do not arrive, polling instead',
      fields: { error: expect.objectContaining({ message: 'a pooler drops the notifications' }) },
    })
    await using writer = openStores({ postgresUrl: url, schema, prepare: false, wakeUp: 'poll' })
    const before = woken
    const event = noted('a')
    await writer.events.appendEvents({ ...event, events: [event], expectedVersion: 0 })
    await expect.poll(() => woken, { timeout: paced(10_000) }).toBeGreaterThan(before)
    expect(warnings()).toHaveLength(1)
  })
})
