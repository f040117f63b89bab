import { expect, it } from 'vitest'
import { connectClient, consume, createBus, freshPrefix, Noted, notes } from '../scene.ts'

it('leaves every key, group, consumer and pending entry as it was', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  const bus = createBus({ streamPrefix, consumerGroup: 'operator' })
  await client.xGroupCreate(stream, 'billing', '0', { MKSTREAM: true })
  await bus.publish(notes('a', 250))
  await client.xReadGroup('billing', 'worker', { key: stream, id: '>' }, { COUNT: 3 })
  const state = async () => ({
    keys: (await client.keys(`${streamPrefix}*`)).toSorted(),
    stream: await client.sendCommand(['XINFO', 'STREAM', stream]),
    groups: await client.sendCommand(['XINFO', 'GROUPS', stream]),
    pending: await client.sendCommand(['XPENDING', stream, 'billing', '-', '+', '10']).then(withoutIdle),
  })
  const before = await state()

  let count = 0
  for await (const _ of bus.admin.browse({ limit: 1000 })) count += 1
  await bus.admin.find('no such event')
  const ended = new AbortController()
  const onReady = () => ended.abort()
  for await (const _ of bus.admin.tail({ signal: ended.signal, onReady })) count += 1

  expect(count).toBe(250)
  expect(await state()).toEqual(before)
})

/** Ids, consumers and delivery counts. */
function withoutIdle(rows: unknown): unknown {
  return Array.isArray(rows)
    ? rows.map(([id, consumer, , deliveries]: unknown[]) => [id, consumer, deliveries])
    : rows
}

it('reads an entry whole that is larger than a reply may be', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix, maxInFlightBytes: 1_200_000, maxEntryBytes: 1_100_000 })
  bus.subscribe(Noted, () => undefined)
  await consume(bus)
  for (let n = 0; n < 3; n += 1)
    await client.xAdd(`${streamPrefix}:stream`, '*', { event_type: 'Large', payload: 'x'.repeat(1_000_000) })

  const sizes: number[] = []
  for await (const { body } of bus.admin.browse()) sizes.push(body.length)

  expect(sizes).toEqual([1_000_000, 1_000_000, 1_000_000])
})
