import { expect, it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, Noted } from '../scene.ts'
import { publishedStream, readAndDie } from './pending.ts'

it('finds expired entries behind a page of entries that are in use', async () => {
  const streamPrefix = await publishedStream(30)
  const busy = createBus({ streamPrefix, batchSize: 5, maxInFlight: 20, concurrency: 1 })
  const release = Promise.withResolvers<void>()
  busy.subscribe(Noted, () => release.promise)
  await consume(busy)
  await waitFor(() => busy.getStats().inFlight === 20)
  await readAndDie(streamPrefix, 'dead', 10)
  const seen: number[] = []
  const second = createBus({ streamPrefix, batchSize: 5 })
  second.subscribe(Noted, (event) => seen.push(event.n))

  await consume(second)

  await waitFor(() => seen.length === 10)
  expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, index) => index + 20))
  release.resolve()
})

it('reports a pending entry that was trimmed, and continues', async () => {
  const streamPrefix = await publishedStream(2)
  await readAndDie(streamPrefix, 'dead', 1)
  const client = await connectClient()
  const stream = `${streamPrefix}:stream`
  const [first] = (await client.xRange(stream, '-', '+')) ?? []
  await client.xDel(stream, String(first?.id))
  const bus = createBus({ streamPrefix })
  const seen: number[] = []
  const lost: string[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))
  bus.onNotice((notice) => {
    if (notice.type === 'eventsLost') lost.push(notice.detail)
  })

  await consume(bus)

  await waitFor(() => lost.length === 1 && seen.length === 1)
  expect(lost[0]).toContain(String(first?.id))
})
