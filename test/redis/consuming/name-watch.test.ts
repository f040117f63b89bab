import { expect, it } from 'vitest'
import { waitFor } from '../../../src/testing/index.ts'
import { connectClient, consumingBus, createBus, freshPrefix, launchRedis, Noted, notes } from '../scene.ts'

const taken = (notices: readonly string[]) => notices.filter((notice) => notice === 'consumerNameTaken')

it('warns once if another live process uses the consumer name', async () => {
  const { url } = await launchRedis()
  const options = { streamPrefix: freshPrefix(), consumerName: 'worker-0' }
  const first = await consumingBus(url, options)
  const second = await consumingBus(url, options)

  await waitFor(() => taken(second.notices).length === 1)

  expect(taken(first.notices)).toEqual([])
  expect(second.logger.lines).toContainEqual(
    expect.objectContaining({
      level: 'warn',
      message: 'consumer name used by another process',
      fields: expect.objectContaining({ detail: expect.stringContaining('worker-0') }),
    }),
  )
})

it('does not warn if the earlier process with the name stopped or died, or is in another group', async () => {
  const { url } = await launchRedis()
  const client = await connectClient(url)
  const streamPrefix = freshPrefix()
  const name = { streamPrefix, consumerName: 'worker-0' }
  const key = `${streamPrefix}:stream:consumer:default:worker-0`
  const stopped = await consumingBus(url, name)
  await waitFor(async () => (await client.get(key)) !== null)
  await stopped.bus.shutdown()
  expect(await client.get(key)).toBeNull()
  // A process that died leaves its key until it expires.
  await client.set(key, 'a process that died', { PX: 600 })
  const other = await consumingBus(url, { ...name, consumerGroup: 'other' })
  const heir = await consumingBus(url, name)

  await waitFor(async () => ![null, 'a process that died'].includes(await client.get(key)))
  // By then the watch has asked often enough to be certain.
  const holder = await client.get(key)
  await waitFor(async () => Number(await client.pTTL(key)) > 0 && (await client.get(key)) === holder)

  expect([...taken(heir.notices), ...taken(other.notices)]).toEqual([])
})

it('sends no command for the default name, which is unique', async () => {
  const { url } = await launchRedis()
  const client = await connectClient(url)
  const streamPrefix = freshPrefix()
  const bus = createBus({ redisUrl: url, streamPrefix })
  const seen: number[] = []
  bus.subscribe(Noted, ({ n }) => seen.push(n))
  bus.startConsumingInBackground()
  await bus.publish(notes('a', 1))
  await waitFor(() => seen.length === 1)

  expect(await client.keys(`${streamPrefix}:stream:consumer:*`)).toEqual([])
})
