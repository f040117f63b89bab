import { connect } from 'node:net'
import { expect, inject, test } from 'vitest'
import { startLines } from './broker-starts.ts'
import { endpointOf } from './endpoint.ts'
import { launchBroker } from './launch-broker.ts'
import { isAnswering } from './probe.ts'

test('the shared Redis answers', async () => {
  const endpoint = endpointOf('redis', inject('redisUrl'))

  expect(await isAnswering('redis', endpoint, 1_000)).toBe(true)
})

test('a private Redis keeps its port and data when it is killed, stopped, frozen and restarted', async () => {
  await using redis = await launchBroker('redis', { config: ['appendfsync always'] })
  const { url, port } = redis
  expect(await command(port, 'SET answer 42')).toBe('+OK')

  await redis.kill()
  expect(await redis.isAnswering()).toBe(false)
  await redis.start()
  expect(await command(port, 'GET answer')).toBe('42')

  await redis.stop()
  expect(await redis.isAnswering()).toBe(false)
  await redis.start()
  expect(await command(port, 'GET answer')).toBe('42')

  await redis.freeze()
  expect(await redis.isAnswering(200)).toBe(false)
  await redis.thaw()
  expect(await redis.isAnswering()).toBe(true)

  await redis.freeze()
  await redis.restart() // a frozen broker can be stopped too
  expect(await command(port, 'GET answer')).toBe('42')
  expect(redis.url).toBe(url)
})

test('a private Redis accepts additional configuration', async () => {
  await using redis = await launchBroker('redis', { config: ['requirepass secret'] })

  expect(await command(redis.port, 'PING')).toMatch(/^-NOAUTH/)
  expect(await command(redis.port, 'AUTH secret')).toBe('+OK')
})

test('a test knows how long each of its brokers took to start', async () => {
  await using redis = await launchBroker('redis')
  await redis.restart()

  const line = expect.stringMatching(`^redis on port ${redis.port} was up \\d+ ms after its start$`)
  expect(startLines()).toEqual([line, line])
})

test('a broker that does not start reports the reason', async () => {
  await expect(launchBroker('redis', { config: ['no-such-setting yes'] })).rejects.toThrow(/no-such-setting/)
})

/** Sends one command and returns the last line of the reply. */
async function command(port: number, line: string): Promise<string | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const socket = connect(port, '127.0.0.1', () => socket.write(`${line}\r\n`))
  socket.once('data', (data) => resolve(data.toString())).once('error', reject)
  const reply = await promise.finally(() => socket.destroy())
  return reply.trimEnd().split('\r\n').at(-1)
}
