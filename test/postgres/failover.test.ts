import { expect, it, onTestFinished } from 'vitest'
import {
  type CheckpointStore,
  InMemoryCheckpointStore,
  StoreOutcomeUnknownError,
  StoreReadOnlyError,
  StoreUnavailableError,
  SubscriptionManager,
} from '../../src/index.ts'
import { PostgresFeedError, type PostgresStores } from '../../src/postgres/index.ts'
import { Noted, noted } from '../../src/testing/conformance/events.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { openStores } from './postgres-scene.ts'
import { ReplicatedServer } from './replicated-server.ts'

const append = ({ events }: PostgresStores, event: Noted) =>
  events.appendEvents({ ...event, events: [event], expectedVersion: 'any' })

/** A subscription that runs until the end of the test. */
function follow({ events: eventStore }: PostgresStores, checkpoints: CheckpointStore) {
  const manager = new SubscriptionManager({ eventStore, checkpoints, logger: new RecordingLogger() })
  onTestFinished(() => manager.stop().then(() => undefined))
  const handled: string[] = []
  const handle = ({ eventId }: { readonly eventId: string }) => void handled.push(eventId)
  manager.subscribe({ name: 's', handle }, { checkpointEveryEvents: 1, pollIntervalMs: 100 })
  manager.start()
  return { manager, handled }
}

async function appendMany(stores: PostgresStores, count: number): Promise<readonly string[]> {
  const events = Array.from({ length: count }, (_, n) => noted(`a${n % 5}`, n))
  for (const event of events) await append(stores, event)
  return events.map(({ eventId }) => eventId)
}

/** Appends until the server accepts it again. @returns the errors until then. */
async function appendAtLast(stores: PostgresStores, event: Noted): Promise<readonly unknown[]> {
  const errors: unknown[] = []
  await expect
    .poll(
      () =>
        append(stores, event).then(
          () => true,
          (error: unknown) => errors.push(error) < 0,
        ),
      { timeout: paced(20_000) },
    )
    .toBe(true)
  return errors
}

it('continues after a failover, and refuses checkpoints of events that the new primary does not have', {
  timeout: paced(120_000),
}, async () => {
  await using server = await ReplicatedServer.launch()
  const logger = new RecordingLogger()
  await using stores = openStores({ schema: 'shop', postgresUrl: server.url, events: [Noted], logger })
  await stores.ready()
  await using replica = openStores({ schema: 'shop', postgresUrl: server.standby.url, migrate: 'off' })
  const kept = await appendMany(stores, 20)
  await expect.poll(() => count(replica), { timeout: paced(20_000) }).toBe(20)

  // A standby accepts no writes, and does not know which appends are open.
  await expect(append(replica, noted('a'))).rejects.toBeInstanceOf(StoreReadOnlyError)
  await expect(replica.events.readPage()).rejects.toBeInstanceOf(PostgresFeedError)
  await using serialized = openStores({
    ...{ schema: 'shop', postgresUrl: server.standby.url, migrate: 'off', order: 'serialized' },
  })
  expect((await serialized.events.readPage()).events).toHaveLength(20)

  const elsewhere = new InMemoryCheckpointStore()
  const [inside, outside] = [follow(stores, stores.checkpoints), follow(stores, elsewhere)]
  for (const { manager } of [inside, outside]) await manager.whenCaughtUp('s')
  await expect.poll(() => replica.checkpoints.load('s')).toMatchObject({ position: 20 })
  server.stopReplication()
  // More than the sequence's values that the standby knows of, so that positions are given out twice.
  const lost = await appendMany(stores, 50)
  for (const { manager } of [inside, outside]) await manager.whenCaughtUp('s')
  await server.failOver()

  const fresh = noted('fresh')
  for (const error of await appendAtLast(stores, fresh)) {
    const kinds = [StoreOutcomeUnknownError, StoreUnavailableError, StoreReadOnlyError]
    expect(kinds).toContain(Object(error).constructor)
  }
  const since = [fresh.eventId, ...(await appendMany(stores, 30))]
  expect(await idsIn(stores)).toEqual([...kept, ...since])
  for (const { manager, handled } of [inside, outside]) {
    await expect.poll(async () => (await manager.health()).status, { timeout: paced(20_000) }).toBe('down')
    await expect(manager.whenProcessed(1)).rejects.toMatchObject({
      code: expect.stringMatching(/^(POSITION_AHEAD|CHECKPOINT_FOREIGN)$/),
    })
    expect(handled).toEqual([...kept, ...lost])
  }

  // Its checkpoint has failed over together with the events, so it continues from there.
  const again = follow(stores, stores.checkpoints)
  await again.manager.whenCaughtUp('s')
  expect(again.handled).toEqual(since)
  const refused = follow(stores, elsewhere)
  await expect(refused.manager.whenCaughtUp('s')).rejects.toThrow(
    /startFrom: 'beginning', or delete the checkpoint/,
  )
  expect(refused.handled).toEqual([])
  await expect.poll(() => logger.lines.at(-1)?.message).toBe('wake-ups by NOTIFY resumed')
})

async function count(stores: PostgresStores): Promise<number> {
  return (await stores.events.getEvents('a0', { aggregateType: 'Note' })).version * 5
}

async function idsIn(stores: PostgresStores): Promise<readonly string[]> {
  const ids: string[] = []
  for await (const { event } of stores.events.readAll()) ids.push(event.eventId)
  return ids
}
