import { expect, inject, it } from 'vitest'
import type { PostgresStores } from '../../src/postgres/index.ts'
import { noted } from '../../src/testing/conformance/events.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

type Events = Pick<ReturnType<typeof openStores>['events'], 'appendEvents'>

const append = (events: Events, aggregateId: string) =>
  events.appendEvents({
    aggregateId,
    aggregateType: 'Note',
    events: [noted(aggregateId)],
    expectedVersion: 'any',
  })

/** Counts calls, and waits for one more. */
function wakeUps(store: { onAppend(listener: () => void): () => void }) {
  let count = 0
  const end = store.onAppend(() => {
    count += 1
  })
  const more = async () => {
    const before = count
    return {
      arrived: () =>
        expect.poll(() => count, { timeout: paced(10_000), interval: 1 }).toBeGreaterThan(before),
    }
  }
  return {
    more,
    end,
    get count() {
      return count
    },
  }
}

it('wakes a listener in another process within milliseconds of a commit', async () => {
  const schema = freshSchema()
  await using writer = openStores({ schema })
  await using reader = openStores({ schema, pollIntervalMs: 60_000 })
  await append(writer.events, 'a')
  const woken = wakeUps(reader.events)
  await (await woken.more()).arrived() // of the check at the start of listening
  const times: number[] = []
  for (let round = 0; round < 20; round += 1) {
    const next = await woken.more()
    const start = performance.now()
    await append(writer.events, 'a')
    await next.arrived()
    times.push(performance.now() - start)
    expect(await reader.events.headPosition()).toBe(round + 2)
  }
  woken.end()

  const median = times.toSorted((a, b) => a - b)[10]
  expect(median).toBeLessThan(paced(1000))
})

it('wakes once at the commit of a transaction of the caller, for all its appends', async () => {
  const schema = freshSchema()
  await using writer = openStores({ schema })
  await using reader = openStores({ schema, pollIntervalMs: 60_000 })
  await append(writer.events, 'before')
  const woken = wakeUps(reader.events)
  await (await woken.more()).arrived()
  await using client = await connected()
  await client.query('begin')
  const tx = writer.within(client)
  for (let index = 0; index < 10; index += 1) await append(tx.events, 'a')
  const next = await woken.more()
  await client.query('commit')
  await next.arrived()

  expect((await reader.events.readPage()).events).toHaveLength(11)
  woken.end()
})

/**
 * The lines about wake-ups. The connections of the pool are cut, too: a look at the feed over one of them fails and is
 * repeated, and the pool reports each.
 */
const reported = ({ lines }: RecordingLogger) =>
  lines.map(({ message }) => message).filter((message) => message.startsWith('wake-ups'))

const RESUMED = 'wake-ups by NOTIFY resumed'
const resumptions = (logger: RecordingLogger) =>
  reported(logger).filter((message) => message === RESUMED).length

/** Waits until a listening session exists and has sent the notification by which it tests itself. */
async function listening(
  client: Awaited<ReturnType<typeof connected>>,
  applicationName: string,
): Promise<void> {
  const text = `select from pg_stat_activity
    where application_name = $1 and state = 'idle' and query ~ 'pg_notify|^select 1$'`
  const sessions = async () => (await client.query(text, [applicationName])).rowCount
  await expect.poll(sessions, { timeout: paced(10_000) }).toBeGreaterThan(0)
}

it('finds events that were appended while its connection was broken, and listens again', async () => {
  const schema = freshSchema()
  const logger = new RecordingLogger()
  await using writer = openStores({ schema })
  const url = new URL(inject('postgresUrl'))
  url.searchParams.set('application_name', schema)
  await using reader = openStores({ schema, pollIntervalMs: 60_000, logger, postgresUrl: url.href })
  await append(writer.events, 'a')
  const woken = wakeUps(reader.events)
  await (await woken.more()).arrived()
  await using client = await connected()
  for (let round = 0; round < 2; round += 1) {
    const next = await woken.more()
    await listening(client, schema)
    const cut = 'select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1'
    const { rowCount } = await client.query(cut, [schema])
    expect(rowCount).toBeGreaterThan(0)
    await append(writer.events, 'a')
    await next.arrived()
    await expect.poll(() => resumptions(logger), { timeout: paced(10_000) }).toBe(round + 1)
  }
  woken.end()

  expect(reported(logger)).toEqual([
    'wake-ups by NOTIFY do not arrive, polling instead',
    RESUMED,
    'wake-ups by NOTIFY do not arrive, polling instead',
    RESUMED,
  ])
})

const addToOutbox = (stores: PostgresStores, aggregateId: string) =>
  stores.transaction((tx) => tx.outbox.add([noted(aggregateId)]))

it('finds what was added to the outbox while its connection was cut', async () => {
  const schema = freshSchema()
  const logger = new RecordingLogger()
  await using writer = openStores({ schema })
  const url = new URL(inject('postgresUrl'))
  url.searchParams.set('application_name', schema)
  await using reader = openStores({ schema, pollIntervalMs: 60_000, logger, postgresUrl: url.href })
  await addToOutbox(writer, 'a')
  const woken = wakeUps(reader.outbox)
  await (await woken.more()).arrived()
  await using client = await connected()
  for (let round = 0; round < 2; round += 1) {
    const next = await woken.more()
    await listening(client, schema)
    const cut = 'select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1'
    await client.query(cut, [schema])
    await addToOutbox(writer, 'a')
    await next.arrived()
    await expect.poll(() => resumptions(logger), { timeout: paced(10_000) }).toBe(round + 1)
  }
  woken.end()
})

it('polls the outbox, too, if configured', async () => {
  const schema = freshSchema()
  await using writer = openStores({ schema, wakeUp: 'poll' })
  await using reader = openStores({ schema, wakeUp: 'poll', pollIntervalMs: 50 })
  const woken = wakeUps(reader.outbox)
  for (let round = 0; round < 3; round += 1) {
    const next = await woken.more()
    await addToOutbox(writer, 'a')
    await next.arrived()
  }
  woken.end()
})

it('polls if configured, and sends no notification', async () => {
  const schema = freshSchema()
  await using writer = openStores({ schema, wakeUp: 'poll' })
  await using reader = openStores({ schema, wakeUp: 'poll', pollIntervalMs: 50 })
  await using witness = await connected()
  const heard: unknown[] = []
  witness.on('notification', ({ payload }) => {
    if (payload === schema) heard.push(payload)
  })
  await witness.query('listen eventspine')
  const woken = wakeUps(reader.events)
  for (let round = 0; round < 3; round += 1) {
    const next = await woken.more()
    await append(writer.events, 'a')
    await next.arrived()
  }
  woken.end()
  await witness.query('select 1')

  expect(heard).toEqual([])
})

it('wakes when the append that held the feed back is rolled back, although no notification is sent', async () => {
  const schema = freshSchema()
  await using writer = openStores({ schema })
  await using reader = openStores({ schema, pollIntervalMs: 100 })
  await append(writer.events, 'a')
  const woken = wakeUps(reader.events)
  await (await woken.more()).arrived()
  await using client = await connected()
  await client.query('begin')
  await append(writer.within(client).events, 'undone')
  await append(writer.events, 'b')
  // Reading the end shows that it is held. A notification of `b` may have come before the reader listened.
  expect(await reader.events.headPosition()).toBe(1)

  const next = await woken.more()
  await client.query('rollback')
  await next.arrived()
  expect(await reader.events.headPosition()).toBe(3)
  woken.end()
})

it('notifies with the commit of one append at a time, and after the commit of others', async () => {
  const schema = freshSchema()
  const url = new URL(inject('postgresUrl'))
  url.searchParams.set('application_name', schema)
  await using writer = openStores({ schema, postgresUrl: url.href })
  await using witness = await connected()
  let heard = 0
  witness.on('notification', ({ payload }) => {
    if (payload === schema) heard += 1
  })
  await witness.query('listen eventspine')
  const sessions = async () => {
    const text = 'select from pg_stat_activity where application_name = $1'
    return (await witness.query(text, [schema])).rowCount
  }
  const notified = (count: number) =>
    expect.poll(() => heard, { timeout: paced(10_000), interval: 1 }).toBe(count)

  await append(writer.events, 'a')
  await notified(1)
  expect(await sessions()).toBe(1) // no connection for notifications was needed

  // What an append holds that notifies with its commit, until the disk has it.
  await witness.query("select pg_advisory_lock(hashtextextended('eventspine notifies', 0))")
  await append(writer.events, 'b')
  await notified(2)
  expect(await sessions()).toBe(2)
})

it('notifies at most once in ten milliseconds, and always after the last append', async () => {
  const schema = freshSchema()
  await using writer = openStores({ schema })
  await using witness = await connected()
  let heard = 0
  witness.on('notification', ({ payload }) => {
    if (payload === schema) heard += 1
  })
  await witness.query('listen eventspine')
  const start = performance.now()
  for (let index = 0; index < 100; index += 1) await append(writer.events, `a${index}`)
  await writer.close()
  const elapsedMs = performance.now() - start
  await witness.query('select 1')

  expect(heard).toBeGreaterThan(0)
  expect(heard).toBeLessThanOrEqual(elapsedMs / 10 + 2)
})
