import { expect, it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, freshPrefix, Noted, notes } from '../scene.ts'

it('keeps a message pending while its dead letter cannot be stored, and handles others', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix, maxRetries: 0 })
  const seen: number[] = []
  bus.subscribe(Noted, ({ n }) => {
    if (n === 0) throw new Error('no')
    seen.push(n)
  })
  await consume(bus)
  await client.set(`${streamPrefix}:stream_dlq`, 'in the way')

  await bus.publish([...notes('a', 1), ...notes('b', 2, 1)])
  await waitFor(() => seen.length === 1 && bus.getStats().handlerErrors === 1)
  const pending = await client.xPending(`${streamPrefix}:stream`, 'default')
  await client.del(`${streamPrefix}:stream_dlq`)

  expect(pending.pending).toBe(1)
  await waitFor(async () => (await bus.deadLetters.count()) === 1)
  expect((await client.xPending(`${streamPrefix}:stream`, 'default')).pending).toBe(0)
})

it('dead-letters and replays an entry with more fields than a script can copy', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix })
  bus.subscribe(Noted, () => undefined)
  await consume(bus)
  const fields = Array.from({ length: 9000 }, () => ['again', 'x']).flat()
  await client.sendCommand(['XADD', `${streamPrefix}:stream`, '*', 'payload', 'poison', ...fields])
  await waitFor(() => bus.getStats().messagesSentToDlq === 1)
  const [first] = (await client.xRange(`${streamPrefix}:stream_dlq`, '-', '+')) ?? []

  expect(await bus.replayDlqMessage(String(first?.id))).toBe(true)
  await waitFor(() => bus.getStats().messagesSentToDlq === 2)

  const page = await client.sendCommand(['XRANGE', `${streamPrefix}:stream_dlq`, '-', '+'])
  // XRANGE replies ids, each with a list of names and values.
  const [letter, ...others] = page as unknown as [string, string[]][]
  expect(others).toEqual([])
  expect(letter?.[1].slice(0, 18_002)).toEqual(['payload', 'poison', ...fields])
})

it('lists, replays and removes dead letters that eventsource-py wrote', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const event = notes('a', 1)[0]
  const payload = JSON.stringify(event)
  const fields = { event_id: String(event?.eventId), event_type: 'Noted', aggregate_id: 'a', payload }
  const dead = {
    ...fields,
    original_message_id: '12-0',
    retry_count: '2',
    dlq_timestamp: '2025-12-13T12:00:00.123456+00:00',
  }
  const id = await client.xAdd(`${streamPrefix}:stream_dlq`, '*', dead)
  const bus = createBus({ streamPrefix })
  const seen: number[] = []
  bus.subscribe(Noted, (noted) => seen.push(noted.n))
  await consume(bus)

  const letter = await bus.deadLetters.get(id)
  const isReplayed = await bus.replayDlqMessage(id)

  expect(letter).toMatchObject({ eventType: 'Noted', attempts: 3, source: '12-0', consumerGroup: undefined })
  expect(isReplayed).toBe(true)
  await waitFor(() => seen.length === 1)
  expect(await bus.getDlqMessages()).toEqual([])
  expect(await bus.replayDlqMessage(id)).toBe(false)
})

it('deletes a replayed entry after it is settled', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix, maxRetries: 0 })
  let isFixed = false
  bus.subscribe(Noted, () => {
    if (!isFixed) throw new Error('no')
  })
  await consume(bus)
  await bus.publish(notes('a', 1))
  await waitFor(async () => (await bus.deadLetters.count()) === 1)
  isFixed = true

  expect(await bus.deadLetters.replayAll()).toBe(1)

  await waitFor(() => bus.getStats().eventsProcessedSuccess === 1)
  await waitFor(async () => (await client.xLen(`${streamPrefix}:stream:replay:default`)) === 0)
})
