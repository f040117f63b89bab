import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { GenericEvent } from '../../src/index.ts'
import { waitFor } from '../../src/testing/index.ts'
import { connectClient, consume, createBus, launchRedis, Noted, notes } from './scene.ts'

const page = readFileSync(new URL('../../docs/redis.md', import.meta.url), 'utf8')
const documented = /^`(XADD [^`]+)`$/m.exec(page)?.[1]?.split(' ') ?? []

it('needs no command that docs/redis.md does not list', async () => {
  const broker = await launchRedis()
  const admin = await connectClient(broker.url)
  const rights = documented.map((command) => `+${command.toLowerCase()}`)
  await admin.sendCommand(['ACL', 'SETUSER', 'worker', 'on', '>secret', '~*', ...rights])
  const redisUrl = `redis://worker:secret@127.0.0.1:${broker.port}`
  const bus = createBus({
    redisUrl,
    consumerName: 'worker-0',
    maxRetries: 1,
    maxLength: 1,
    maxAgeMs: 3_600_000,
    trimIntervalMs: 20,
  })
  const seen: number[] = []
  let isFixed = false
  bus.subscribe(Noted, ({ n }, { attempt }) => {
    if ((n === 1 && attempt === 1) || (n === 2 && !isFixed)) throw new Error('not yet')
    seen.push(n)
  })
  await consume(bus)

  await bus.publish(notes('a', 3))
  await waitFor(async () => (await bus.deadLetters.count()) === 1)
  isFixed = true
  await bus.deadLetters.replayAll()
  await waitFor(() => seen.length === 3)
  await bus.recoverPendingMessages({ minIdleTimeMs: 0 })
  await bus.getStreamInfo()
  expect(await bus.admin.consumers()).toMatchObject([{ name: 'worker-0', pid: process.pid }])
  await bus.shutdown()

  const denied = await admin.sendCommand(['ACL', 'LOG'])
  expect(denied).toEqual([])
  expect(seen).toEqual([0, 1, 2])
})

it('skips events without a handler, and says why at its start, if it may not store the types of the group', async () => {
  const broker = await launchRedis()
  const admin = await connectClient(broker.url)
  const rights = documented.filter((name) => name !== 'HSET').map((name) => `+${name.toLowerCase()}`)
  await admin.sendCommand(['ACL', 'SETUSER', 'limited', 'on', '>secret', '~*', ...rights])
  const warnings: string[] = []
  const ignore = () => undefined
  const bus = createBus({
    redisUrl: `redis://limited:secret@127.0.0.1:${broker.port}`,
    logger: { debug: ignore, info: ignore, warn: (text: string) => warnings.push(text), error: ignore },
  })
  bus.subscribe(Noted, ignore)
  await consume(bus)
  await bus.publish([
    new GenericEvent({ eventType: 'Unheard', aggregateType: 'Note', aggregateId: 'a', data: {} }),
  ])

  await waitFor(() => bus.getStats().eventsSkipped === 1)
  expect(warnings).toEqual([expect.stringMatching(/^event types are not shared/)])
})
