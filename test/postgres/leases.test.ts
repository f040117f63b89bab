import { expect, inject, it, onTestFinished, vi } from 'vitest'
import { SubscriptionManager } from '../../src/index.ts'
import { expectFenced, freezeOwner } from '../support/frozen-owner.ts'
import { orderShipped } from '../support/order-events.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { waitFor } from '../support/wait-for.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

const HOUR_MS = 3_600_000

it('passes to another process when its owner is frozen, and the former owner moves no checkpoint afterwards', {
  timeout: paced(120_000),
}, async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema })
  await stores.ready()
  await using client = await connected()
  await client.query(
    `create table "${schema}".saves (n serial, position bigint, fence bigint);
     create function "${schema}".note() returns trigger language plpgsql as
       $$ begin insert into "${schema}".saves (position, fence) values (new.position, new.fence); return new; end $$;
     create trigger note after insert or update on "${schema}".checkpoints for each row execute function "${schema}".note()`,
  )

  await freezeOwner({ postgresUrl: inject('postgresUrl'), schema })

  const { rows } = await client.query(`select position, fence from "${schema}".saves order by n`)
  expectFenced(rows.map(({ position, fence }) => ({ position: Number(position), fence: Number(fence) })))
})

it('stays with its owner although the clocks of the clients and of the server jump by an hour', async () => {
  const schema = freshSchema()
  await using client = await connected()
  // The clock of the server as the statements of the stores read it.
  await client.query(
    `create schema "${schema}_clock"; create table "${schema}_clock".shift (by interval);
     insert into "${schema}_clock".shift values ('0'); create function "${schema}_clock".clock_timestamp()
     returns timestamptz language sql as
     'select pg_catalog.clock_timestamp() + by from "${schema}_clock".shift'`,
  )
  const url = new URL(inject('postgresUrl'))
  url.searchParams.set('options', `-c search_path=${schema}_clock,pg_catalog`)
  const opened = [1, 2].map(() => openStores({ schema, postgresUrl: url.href }))
  onTestFinished(async () => {
    for (const stores of opened) await stores.close()
  })
  await opened[0]?.ready()
  const now = Date.now
  let shiftMs = 0
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + shiftMs)
  onTestFinished(() => clock.mockRestore())
  const handled: string[][] = [[], []]
  const managers = opened.map(({ events: eventStore, checkpoints, leases }, index) => {
    const logger = new RecordingLogger()
    const manager = new SubscriptionManager({ eventStore, checkpoints, leases, logger, leaseTtlMs: 20_000 })
    manager.subscribe({ name: 's', handle: ({ eventId }) => void handled[index]?.push(eventId) })
    return manager
  })
  onTestFinished(async () => {
    for (const manager of managers) await manager.stop()
  })
  managers[0]?.start()
  await managers[0]?.whenCaughtUp('s')
  managers[1]?.start()
  const jumps = [
    [HOUR_MS, '0'],
    [-HOUR_MS, '0'],
    [0, '-1 hour'],
    [0, '-2 hours'],
  ] as const
  const sent: string[] = []
  for (const [clientMs, server] of jumps) {
    shiftMs = clientMs
    await client.query(`update "${schema}_clock".shift set by = $1`, [server])
    const event = orderShipped('Order-1')
    sent.push(event.eventId)
    await opened[0]?.events.appendEvents({ ...event, events: [event], expectedVersion: 'any' })
    await managers[0]?.whenCaughtUp('s')
    // The other one has asked since, and was refused.
    expect(await opened[1]?.leases.acquire('s', 'third', 1000)).toBeUndefined()
  }
  const { rows } = await client.query(`select stored_at from "${schema}".events order by position`)
  const times = rows.map(({ stored_at }) => stored_at.getTime())
  const middle = await opened[0]?.events.positionBefore(new Date(now() - HOUR_MS / 2))
  await waitFor(async () => (await managers[1]?.status())?.['s']?.state === 'standby')

  expect(handled).toEqual([sent, []])
  // The times went back, the positions did not; nothing that was stored since is skipped.
  expect(times[3]).toBeLessThan(times[0])
  expect(middle).toBe(0)
})
