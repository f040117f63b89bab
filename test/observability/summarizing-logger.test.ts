import { describe, expect, it } from 'vitest'
import { InMemoryEventBus } from '../../src/index.ts'
import { type LogClock, SummarizingLogger } from '../../src/observability/summarizing-logger.ts'
import { MemoryBroker, MemoryBrokerEventBus } from '../../src/testing/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { waitFor } from '../support/wait-for.ts'

/** A clock that the test advances. */
function manualClock() {
  let now = 0
  const timers = new Set<{ readonly at: number; readonly callback: () => void }>()
  const clock: LogClock = {
    now: () => now,
    after: (ms, callback) => {
      const timer = { at: now + ms, callback }
      timers.add(timer)
      return () => timers.delete(timer)
    },
  }
  const advance = (ms: number) => {
    now += ms
    for (const timer of [...timers]) if (timer.at <= now && timers.delete(timer)) timer.callback()
  }
  return { clock, advance }
}

function summarizing() {
  const target = new RecordingLogger()
  const { clock, advance } = manualClock()
  return { target, advance, logger: new SummarizingLogger(target, clock) }
}

describe('lines with the same message', () => {
  it('are logged ten times; further ones are counted and reported in one line after ten seconds', () => {
    const { target, advance, logger } = summarizing()

    for (let n = 0; n < 1000; n += 1) logger.warn('handler failed', { n })
    expect(target.lines).toHaveLength(10)
    advance(9_999)
    expect(target.lines).toHaveLength(10)
    advance(1)

    expect(target.lines.slice(10)).toEqual([
      {
        level: 'warn',
        message: 'handler failed ... 990 more like it in the last 10 s',
        fields: { count: 990, seconds: 10 },
      },
    ])
  })

  it('are logged again in the next window, without a summary if none was suppressed', () => {
    const { target, advance, logger } = summarizing()

    logger.error('dead-lettered', { n: 1 })
    advance(10_000)
    logger.error('dead-lettered', { n: 2 })
    advance(10_000)

    expect(target.lines.map(({ fields }) => fields)).toEqual([{ n: 1 }, { n: 2 }])
  })

  it('suppress no other message, no other level and no debug line', () => {
    const { target, logger } = summarizing()

    for (let n = 0; n < 20; n += 1) logger.warn('one')
    logger.error('one')
    logger.info('other')
    for (let n = 0; n < 20; n += 1) logger.debug('one')

    expect(target.lines.filter(({ level }) => level === 'warn')).toHaveLength(10)
    expect(target.lines).toHaveLength(32)
  })

  it('are reported at once when the bus shuts down', () => {
    const { target, advance, logger } = summarizing()

    for (let n = 0; n < 12; n += 1) logger.warn('handler failed')
    advance(2000)
    logger.flush()
    advance(10_000)

    expect(target.lines.at(-1)?.message).toBe('handler failed ... 2 more like it in the last 2 s')
    expect(target.lines).toHaveLength(11)
  })
})

it.each([
  ['in memory', (logger: RecordingLogger) => new InMemoryEventBus({ logger })],
  ['over a broker', (logger: RecordingLogger) => new MemoryBrokerEventBus({ logger, maxRetries: 0 })],
])('a failing handler cannot flood the log, %s', async (_name, make) => {
  const logger = new RecordingLogger()
  const bus = make(logger)
  let runs = 0
  bus.subscribe(OrderCreated, () => {
    runs += 1
    throw new Error('the database is down')
  })
  bus.startConsumingInBackground()

  await bus.publish(Array.from({ length: 500 }, (_, n) => orderCreated(`Order-${n}`)))
  await waitFor(() => runs === 500)
  await bus.shutdown()

  const failed = logger.lines.filter(({ message }) => message.startsWith('handler failed'))
  expect(failed).toHaveLength(11)
  expect(failed.at(-1)?.message).toMatch(/^handler failed \.\.\. 490 more like it in the last \d+ s$/)
})

it('no line contains any part of a payload', async () => {
  const logger = new RecordingLogger()
  const broker = new MemoryBroker()
  const bus = new MemoryBrokerEventBus({ broker, logger, maxRetries: 0 })
  bus.subscribe(OrderCreated, () => {
    throw new Error('failed')
  })
  bus.startConsumingInBackground()
  await bus.whenConsuming()

  await bus.publish([new OrderCreated({ aggregateId: 'Order-1', customerId: 'canary-in-the-payload' })])
  broker.publishRaw({ headers: {}, body: '{ "canary-in-the-payload" ' })
  broker.publishRaw({
    headers: {},
    body: JSON.stringify({ ...orderCreated().toJSON(), customerId: ['canary-in-the-payload'] }),
  })
  await waitFor(() => bus.getStats().eventsProcessedFailed === 3)
  await bus.shutdown()

  expect(logger.lines.length).toBeGreaterThanOrEqual(4)
  expect(JSON.stringify(logger.lines)).not.toContain('canary')
})
