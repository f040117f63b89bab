import { describe, expect, it } from 'vitest'
import { BusClosedError, ConfigError, type HandlerContext, InMemoryEventBus } from '../../../src/index.ts'
import { OrderCreated, OrderShipped, orderCreated, orderShipped } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { waitFor } from '../../support/wait-for.ts'

const never = () => new Promise<never>(() => undefined)
const turn = () => new Promise((resolve) => setImmediate(resolve))
const inBackground = { background: true }

describe('a background publish', () => {
  it('returns before its handlers start, and counts', async () => {
    const bus = new InMemoryEventBus()
    const work = Promise.withResolvers<void>()
    let hasStarted = false
    bus.subscribe(OrderCreated, () => {
      hasStarted = true
      return work.promise
    })

    await bus.publish([orderCreated()], inBackground)
    const whenReturned = { hasStarted, count: bus.getBackgroundTaskCount(), stats: bus.getStats() }
    work.resolve()
    await waitFor(() => bus.getBackgroundTaskCount() === 0)

    expect(whenReturned).toMatchObject({ hasStarted: false, count: 1 })
    expect(whenReturned.stats).toMatchObject({ backgroundTasksCreated: 1, backgroundTasksCompleted: 0 })
    expect(bus.getStats()).toMatchObject({ backgroundTasksCompleted: 1, handlersInvoked: 1 })
  })

  it('whose handler fails is a log line and a count, never an unhandled rejection', async () => {
    const unhandled: unknown[] = []
    const onUnhandled = (reason: unknown) => unhandled.push(reason)
    process.on('unhandledRejection', onUnhandled)
    const logger = new RecordingLogger()
    const bus = new InMemoryEventBus({ logger })
    bus.subscribe(OrderCreated, async () => Promise.reject(new Error('no')))

    await bus.publish([orderCreated()], inBackground)
    await bus.shutdown()
    await turn()
    process.off('unhandledRejection', onUnhandled)

    expect(unhandled).toEqual([])
    expect(logger.lines.map(({ message }) => message)).toEqual(['handler failed'])
    expect(bus.getStats()).toMatchObject({ handlerErrors: 1, backgroundTasksCompleted: 1 })
  })

  it('runs inline if the limit of publishes in flight is reached', async () => {
    const bus = new InMemoryEventBus({ maxBackgroundPublishes: 2 })
    const work = Promise.withResolvers<void>()
    const shipped: string[] = []
    bus.subscribe(OrderCreated, () => work.promise)
    bus.subscribe(OrderShipped, ({ aggregateId }) => void shipped.push(aggregateId))
    await bus.publish([orderCreated()], inBackground)
    await bus.publish([orderCreated()], inBackground)

    await bus.publish([orderShipped('inline')], inBackground)

    expect(shipped).toEqual(['inline'])
    expect(bus.getStats().backgroundTasksCreated).toBe(2)
    work.resolve()
    await bus.shutdown()
  })

  it('from inside handlers, far beyond the limit, does not deadlock', async () => {
    const bus = new InMemoryEventBus({ maxBackgroundPublishes: 3 })
    let shipped = 0
    bus.subscribe(OrderCreated, async () => {
      for (let n = 0; n < 10; n += 1) await bus.publish([orderShipped()], inBackground)
    })
    bus.subscribe(OrderShipped, async () => {
      await turn()
      shipped += 1
    })

    await bus.publish(Array.from({ length: 20 }, () => orderCreated()))
    await waitFor(() => bus.getBackgroundTaskCount() === 0)

    expect(shipped).toBe(200)
  })

  it('is limited to 1,000 by default', async () => {
    const bus = new InMemoryEventBus()
    const work = Promise.withResolvers<void>()
    bus.subscribe(OrderCreated, () => work.promise)

    for (let n = 0; n < 1_000; n += 1) await bus.publish([orderCreated()], inBackground)
    await bus.publish([orderShipped()], inBackground)

    expect(bus.getBackgroundTaskCount()).toBe(1_000)
    expect(bus.getStats().backgroundTasksCreated).toBe(1_000)
    work.resolve()
    await bus.shutdown()
  })
})

describe('shutdown', () => {
  it('waits for background publishes and for publishes in flight', async () => {
    const bus = new InMemoryEventBus()
    const ended: string[] = []
    bus.subscribe([OrderCreated, OrderShipped], async ({ eventType }) => {
      for (let n = 0; n < 5; n += 1) await turn()
      ended.push(eventType)
    })
    await bus.publish([orderCreated()], inBackground)
    const publishing = bus.publish([orderShipped()])

    await bus.shutdown()

    expect(ended.sort()).toEqual(['OrderCreated', 'OrderShipped'])
    await publishing
  })

  it('resolves at once if nothing is pending, also the second time', async () => {
    const bus = new InMemoryEventBus()

    await bus.shutdown()
    await bus.shutdown()

    expect(bus.isShutdown).toBe(true)
  })

  it('makes later publishes reject', async () => {
    const bus = new InMemoryEventBus()
    await bus.shutdown()

    const publishing = [bus.publish([orderCreated()]), bus.publish([orderCreated()], inBackground)]

    for (const result of publishing) {
      await expect(result).rejects.toThrow(BusClosedError)
      await expect(result).rejects.toThrow(
        'The bus is shut down, so it cannot publish. Create a new bus instead.',
      )
    }
  })

  it('gives up on a handler that never settles, logs it, and aborts its signal', async () => {
    const logger = new RecordingLogger()
    const bus = new InMemoryEventBus({ logger })
    const contexts: HandlerContext[] = []
    bus.subscribe(OrderCreated, (_event, context) => {
      contexts.push(context)
      return never()
    })
    await bus.publish([orderCreated()], inBackground)
    void bus.publish([orderCreated()])
    await waitFor(() => contexts.length === 2)
    const startedAt = performance.now()

    await bus.shutdown({ timeoutMs: 50 })

    expect(performance.now() - startedAt).toBeLessThan(paced(1_000))
    expect(bus.getBackgroundTaskCount()).toBe(0)
    expect(logger.lines).toEqual([
      { level: 'warn', message: 'shutdown timed out', fields: { timeoutMs: 50, unfinishedPublishes: 2 } },
    ])
    expect(contexts.map(({ signal }) => signal.reason)).toEqual([
      expect.objectContaining({ code: 'SHUTDOWN' }),
      expect.objectContaining({ code: 'SHUTDOWN' }),
    ])
  })

  it('does not wait a second time for work that it gave up on', async () => {
    const logger = new RecordingLogger()
    const bus = new InMemoryEventBus({ logger })
    bus.subscribe(OrderCreated, never)
    void bus.publish([orderCreated()])
    const waiting = bus.shutdown()

    await bus.shutdown({ timeoutMs: 10 })

    // With the default of 30 seconds both of these would outlast the test.
    await bus.shutdown()
    await waiting
    expect(logger.lines).toHaveLength(1)
  })

  it.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '300'])(
    'refuses the timeout %s',
    async (timeoutMs) => {
      const bus = new InMemoryEventBus()

      const shutdown = bus.shutdown({ timeoutMs: timeoutMs as number })

      await expect(shutdown).rejects.toThrow(ConfigError)
      await expect(shutdown).rejects.toThrow(
        /^shutdown: timeoutMs must be an integer of milliseconds from 0 to/,
      )
      expect(bus.isShutdown).toBe(false)
    },
  )

  it('runs at the end of a scope with await using', async () => {
    let ended = 0
    {
      await using bus = new InMemoryEventBus()
      bus.subscribe(OrderCreated, async () => {
        await turn()
        ended += 1
      })
      await bus.publish([orderCreated()], inBackground)
    }

    expect(ended).toBe(1)
  })
})

describe('handlerTimeoutMs', () => {
  it('counts a handler that takes longer as failed and aborts its signal', async () => {
    const logger = new RecordingLogger()
    const bus = new InMemoryEventBus({ logger, handlerTimeoutMs: 10 })
    const signals: AbortSignal[] = []
    bus.subscribe(OrderCreated, async function slow(_event, { signal }) {
      signals.push(signal)
      await never()
    })

    await bus.publish([orderCreated()])

    expect(bus.getStats()).toMatchObject({ handlersInvoked: 0, handlerErrors: 1 })
    expect(signals[0]?.aborted).toBe(true)
    expect(logger.lines[0]?.fields['error']).toMatchObject({
      code: 'HANDLER_TIMEOUT',
      message: 'The handler slow did not settle within 10 ms (handlerTimeoutMs).',
    })
  })

  it('ignores the result of a handler after its timeout', async () => {
    const unhandled: unknown[] = []
    const onUnhandled = (reason: unknown) => unhandled.push(reason)
    process.on('unhandledRejection', onUnhandled)
    const bus = new InMemoryEventBus({ logger: new RecordingLogger(), handlerTimeoutMs: 10 })
    const late = Promise.withResolvers<void>()
    bus.subscribe(OrderCreated, () => late.promise)
    await bus.publish([orderCreated()])

    late.reject(new Error('too late'))
    await turn()
    process.off('unhandledRejection', onUnhandled)

    expect(unhandled).toEqual([])
    expect(bus.getStats()).toMatchObject({ handlersInvoked: 0, handlerErrors: 1 })
  })

  it('does not affect a handler that is fast enough', async () => {
    const bus = new InMemoryEventBus({ handlerTimeoutMs: 10_000 })
    bus.subscribe(OrderCreated, turn)

    await bus.publish([orderCreated()])

    expect(bus.getStats()).toMatchObject({ handlersInvoked: 1, handlerErrors: 0 })
  })
})
