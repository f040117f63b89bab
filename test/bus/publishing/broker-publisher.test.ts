import { expect, it } from 'vitest'
import { ConnectionError } from '../../../src/index.ts'
import { MemoryBroker } from '../../../src/testing/index.ts'
import { orderCreated } from '../../support/order-events.ts'
import { FaultyBus } from '../../testing/faulty-buses.ts'

it('names the last failure to connect if the deadline comes while it tries again', async () => {
  const again = Promise.withResolvers<void>()
  let attempts = 0
  const connect = () => {
    attempts += 1
    if (attempts === 1) return Promise.reject(new ConnectionError('CONNECTION_FAILED', 'the port is closed'))
    again.resolve()
    return new Promise<void>(() => undefined)
  }
  const bus = new FaultyBus({ publishTimeoutMs: 1000 }, new MemoryBroker(), () => ({ connect }))

  const failure = bus.publish([orderCreated()]).catch((thrown: unknown) => thrown)
  await again.promise

  expect(String(await failure)).toContain('the port is closed')
})
