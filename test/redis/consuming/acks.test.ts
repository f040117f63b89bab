import { expect, it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consumingBus, launchRedis, notes } from '../scene.ts'

it('reports that the server refuses its acknowledgments, and handles the events again when it accepts them', async () => {
  const broker = await launchRedis()
  const admin = await connectClient(broker.url)
  await admin.sendCommand(['ACL', 'SETUSER', 'worker', 'on', '>secret', '~*', '+@all'])
  const redisUrl = `redis://worker:secret@127.0.0.1:${broker.port}`
  const { bus, seen, notices } = await consumingBus(redisUrl, { streamPrefix: 'refused' })
  const pending = async () => (await admin.xPending('refused:stream', 'default')).pending

  await admin.sendCommand(['ACL', 'SETUSER', 'worker', '-xack'])
  await bus.publish(notes('a', 1))

  await waitFor(() => notices.some((notice) => /^readFailed .*xack/i.test(notice)))
  expect(seen).toContain(0)
  expect(await pending()).toBe(1)

  await admin.sendCommand(['ACL', 'SETUSER', 'worker', '+xack'])
  await waitFor(async () => (await pending()) === 0, { timeoutMs: 20_000 })
})
