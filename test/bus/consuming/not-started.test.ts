import { afterEach, expect, it, vi } from 'vitest'
import { MemoryBroker, MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import { orderCreated } from '../../support/order-events.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'

const WARNING = 'whenConsuming waits, but consuming was not started; call startConsumingInBackground'

afterEach(() => {
  vi.useRealTimers()
})

it('warns of a wait for a bus that nobody starts', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const logger = new RecordingLogger()
  const bus = new MemoryBrokerEventBus({ broker: new MemoryBroker(), logger })
  const warnings = () => logger.lines.filter(({ message }) => message === WARNING).length

  const waiting = bus.whenConsuming()
  await vi.advanceTimersByTimeAsync(4900)
  expect(warnings()).toBe(0)
  await vi.advanceTimersByTimeAsync(200)
  expect(warnings()).toBe(1)

  vi.useRealTimers()
  bus.startConsumingInBackground()
  await waiting
  await bus.shutdown()
})

it('does not warn of a wait that starts before the bus does', async () => {
  const logger = new RecordingLogger()
  const bus = new MemoryBrokerEventBus({ broker: new MemoryBroker(), logger })
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })

  const waiting = bus.whenConsuming()
  bus.startConsumingInBackground()
  await waiting
  await bus.publish([orderCreated()])
  await vi.advanceTimersByTimeAsync(6000)

  expect(logger.lines.map(({ message }) => message)).not.toContain(WARNING)
  vi.useRealTimers()
  await bus.shutdown()
})
