import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import {
  AsyncEventHandler,
  type DomainEvent,
  type EventClass,
  type HandlerContext,
  InMemoryEventBus,
} from '../../src/index.ts'
import {
  OrderCreated,
  OrderShipped,
  orderCancelled,
  orderCreated,
  orderShipped,
} from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
}

/** Blocks the process, as a suspension or a long calculation does. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

/** The promise of a handler that takes a few turns of the event loop. */
const aWhile = () => new Promise((resolve) => setImmediate(resolve))

class OrderNotifications extends AsyncEventHandler<OrderCreated | OrderShipped> {
  readonly seen: DomainEvent[] = []

  override eventTypes(): readonly EventClass<OrderCreated | OrderShipped>[] {
    return [OrderCreated, OrderShipped]
  }

  override async handle(event: OrderCreated | OrderShipped): Promise<void> {
    await aWhile()
    this.seen.push(event)
  }
}

describe('a handler', () => {
  it('of any kind runs, and publish waits for its promise', async () => {
    const bus = new InMemoryEventBus()
    const ended: string[] = []
    const asynchronously = async (kind: string) => {
      await aWhile()
      ended.push(kind)
    }
    bus.subscribe(OrderCreated, { handle: async () => asynchronously('async method') })
    bus.subscribe(OrderCreated, { handle: () => void ended.push('sync method') })
    bus.subscribe(OrderCreated, async function handler() {
      await asynchronously('async function')
    })
    bus.subscribe(OrderCreated, function handler() {
      ended.push('sync function')
    })
    bus.subscribe(OrderCreated, () => asynchronously('arrow function with a promise'))

    await bus.publish([orderCreated()])

    expect(ended.sort()).toEqual([
      'arrow function with a promise',
      'async function',
      'async method',
      'sync function',
      'sync method',
    ])
    expect(bus.getStats().handlersInvoked).toBe(5)
  })

  it('may return a thenable that is not a Promise', async () => {
    const bus = new InMemoryEventBus({ logger: new RecordingLogger() })
    let isAwaited = false
    const thenable = {
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what the test is about.
      then: (resolve: () => void) =>
        setImmediate(() => {
          isAwaited = true
          resolve()
        }),
    }
    bus.subscribe(OrderCreated, () => thenable)

    await bus.publish([orderCreated()])

    expect(isAwaited).toBe(true)
  })

  it('may be an object whose handle method uses this', async () => {
    const bus = new InMemoryEventBus()
    class Counter {
      count = 0
      handle() {
        this.count += 1
      }
    }
    const counter = new Counter()
    bus.subscribe(OrderCreated, counter)

    await bus.publish([orderCreated()])

    expect(counter.count).toBe(1)
  })

  it('receives a context in addition to the event', async () => {
    const bus = new InMemoryEventBus()
    const contexts: HandlerContext[] = []
    bus.subscribe(OrderCreated, (_event, context) => void contexts.push(context))

    await bus.publish([orderCreated()])

    const [context] = contexts
    expect([context?.attempt, context?.deliveryCount, context?.consumerGroup, context?.messageId]).toEqual([
      1,
      1,
      undefined,
      undefined,
    ])
    expect(context?.signal.aborted).toBe(false)
  })

  it.each([
    [42, 'A handler must be a function or an object with a handle(event) method, got 42.'],
    [{}, 'A handler must be a function or an object with a handle(event) method, got an object.'],
    [undefined, 'A handler must be a function or an object with a handle(event) method, got undefined.'],
    [
      { handle: 'no' },
      'A handler must be a function or an object with a handle(event) method, got an object.',
    ],
  ])('that is %o is refused when it subscribes', (handler, message) => {
    const bus = new InMemoryEventBus()
    const notAHandler = handler as () => void

    expect(() => bus.subscribe(OrderCreated, notAHandler)).toThrow(new TypeError(message))
    expect(() => bus.subscribeToAllEvents(notAHandler)).toThrow(new TypeError(message))
  })

  it.each([
    ['a function', function* () {}],
    ['an asynchronous function', async function* () {}],
    ['a method', { *handle() {} }],
  ])('that is a generator is refused, because a call would not run it: %s', (_what, handler) => {
    const bus = new InMemoryEventBus()

    expect(() => bus.subscribe(OrderCreated, handler)).toThrow(/must not be a generator function/)
    expect(() => bus.subscribeToAllEvents(handler)).toThrow(/must not be a generator function/)
  })

  it.each([
    [{}, 'got an object'],
    [() => undefined, 'got a function'],
    [{ subscribedTo: () => [] }, 'At least one event class is required'],
    [
      { subscribedTo: () => [OrderCreated] },
      'A handler must be a function or an object with a handle(event) method',
    ],
    [
      { subscribedTo: () => ['OrderCreated'], handle: () => undefined },
      'An event class created with defineEvent is required',
    ],
  ])('that declares nothing usable is refused by subscribeAll: %o', (subscriber, message) => {
    const bus = new InMemoryEventBus()

    const subscribe = () => bus.subscribeAll(subscriber as never)

    expect(subscribe).toThrow(TypeError)
    expect(subscribe).toThrow(message)
    expect(bus.getSubscriberCount()).toBe(0)
  })

  it('is not out of time because the process stood still, if its answer arrived in time', async () => {
    const bus = new InMemoryEventBus({ handlerTimeoutMs: 100 })
    bus.subscribe(OrderCreated, () => delay(30), { name: 'early' })
    bus.subscribe(OrderShipped, () => delay(85), { name: 'late' })

    // Node.js looks at all timers of 100 ms when the first of them would be due: before the answer, which is due after it.
    const early = bus.publish([orderCreated()])
    standStill(20)
    const late = bus.publish([orderShipped()])
    await early
    standStill(200)
    await late

    expect(bus.getStats().handlerErrors).toBe(0)
  })
})

describe('AsyncEventHandler', () => {
  it('receives every type of eventTypes through subscribeAll', async () => {
    const bus = new InMemoryEventBus()
    const handler = new OrderNotifications()
    bus.subscribeAll(handler)

    await bus.publish([orderCreated(), orderCancelled(), orderShipped()])

    expect(handler.seen.map(({ eventType }) => eventType)).toEqual(['OrderCreated', 'OrderShipped'])
  })

  it('accepts only its eventTypes by default', async () => {
    const bus = new InMemoryEventBus()
    const handler = new OrderNotifications()
    // Subscribed to more than it wants.
    bus.subscribeToAllEvents(handler as AsyncEventHandler)

    await bus.publish([orderCreated(), orderCancelled()])

    expect(handler.seen.map(({ eventType }) => eventType)).toEqual(['OrderCreated'])
  })

  it('is not called for events that canHandle declines, which is not an error', async () => {
    class OnlyOrder2 extends OrderNotifications {
      override canHandle(event: OrderCreated | OrderShipped): boolean {
        return super.canHandle(event) && event.aggregateId === 'Order-2'
      }
    }
    const bus = new InMemoryEventBus()
    const handler = new OnlyOrder2()
    bus.subscribeAll(handler)

    await bus.publish([orderCreated('Order-1'), orderCreated('Order-2')])

    expect(handler.seen.map(({ aggregateId }) => aggregateId)).toEqual(['Order-2'])
    expect(bus.getStats()).toMatchObject({ eventsPublished: 2, handlersInvoked: 1, handlerErrors: 0 })
  })
})

describe('canHandle', () => {
  it('of any handler object is respected', async () => {
    const bus = new InMemoryEventBus()
    const seen: DomainEvent[] = []
    bus.subscribeToAllEvents({
      canHandle: (event) => event instanceof OrderShipped,
      handle: (event) => void seen.push(event),
    })

    await bus.publish([orderCreated(), orderShipped()])

    expect(seen.map(({ eventType }) => eventType)).toEqual(['OrderShipped'])
  })

  it.each([Promise.resolve(true), {}, 1, 'yes', undefined, null])(
    'that returns %o instead of a boolean fails, so that the event is not dropped silently',
    async (verdict) => {
      const logger = new RecordingLogger()
      const bus = new InMemoryEventBus({ logger })
      bus.subscribe(OrderCreated, { canHandle: () => verdict as never, handle: () => undefined })

      await bus.publish([orderCreated()])

      expect(bus.getStats()).toMatchObject({ handlersInvoked: 0, handlerErrors: 1 })
      expect(String(logger.lines[0]?.fields['error'])).toMatch(/canHandle of .* must return a boolean, got /)
    },
  )

  it('that throws counts as a failure of its handler', async () => {
    const logger = new RecordingLogger()
    const bus = new InMemoryEventBus({ logger })
    bus.subscribe(OrderCreated, {
      canHandle: () => {
        throw new Error('cannot say')
      },
      handle: () => undefined,
    })

    await bus.publish([orderCreated()])

    expect(bus.getStats()).toMatchObject({ handlersInvoked: 0, handlerErrors: 1 })
    expect(logger.lines).toHaveLength(1)
  })
})

describe('the signal of a handler', () => {
  it('can be garbage collected after the run, although the handler left a listener on it', async () => {
    const bus = new InMemoryEventBus()
    const signals: WeakRef<AbortSignal>[] = []
    bus.subscribe(OrderCreated, async (_event, { signal }) => {
      signal.addEventListener('abort', () => undefined)
      signals.push(new WeakRef(signal))
      await aWhile()
    })
    for (let n = 0; n < 100; n += 1) await bus.publish([orderCreated()])
    await aWhile()

    collectGarbage()

    expect(signals.filter((signal) => signal.deref() !== undefined)).toHaveLength(0)
  })

  it('is aborted by a shutdown that times out, for each handler that runs', async () => {
    const bus = new InMemoryEventBus({ logger: new RecordingLogger() })
    const aborted: string[] = []
    const hang =
      (name: string) =>
      (_event: DomainEvent, { signal }: HandlerContext) => {
        signal.addEventListener('abort', () => aborted.push(name))
        return new Promise(() => undefined)
      }
    bus.subscribe(OrderCreated, hang('first'))
    bus.subscribe(OrderCreated, hang('second'))
    const finished = Promise.withResolvers<HandlerContext>()
    bus.subscribe(OrderShipped, (_event, context) => finished.resolve(context))
    await bus.publish([orderShipped()])
    void bus.publish([orderCreated()])

    await bus.shutdown({ timeoutMs: 1 })

    expect(aborted).toEqual(['first', 'second'])
    expect((await finished.promise).signal.aborted).toBe(true) // first read after the shutdown
  })
})
