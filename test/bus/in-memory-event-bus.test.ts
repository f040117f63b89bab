import { describe, expect, it } from 'vitest'
import { type DomainEvent, GenericEvent, InMemoryEventBus } from '../../src/index.ts'
import {
  ALL_SEEN,
  allVersions,
  ofVersion,
  Renamed,
  seen,
} from '../../src/testing/store-conformance/evolved-events.ts'
import {
  OrderCreated,
  OrderShipped,
  orderCancelled,
  orderCreated,
  orderShipped,
} from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const quiet = () => new InMemoryEventBus({ logger: new RecordingLogger() })
const turn = () => new Promise((resolve) => setImmediate(resolve))
const fail = (message: string) => () => {
  throw new Error(message)
}

describe('publish', () => {
  it('hands events of all versions to handlers as instances of the subscribed class', async () => {
    const bus = quiet()
    const handled: unknown[] = []
    bus.subscribe(Renamed, (event) => void handled.push(seen(event)))
    bus.subscribeToAllEvents((event) => void handled.push(event.constructor))

    await bus.publish(allVersions())

    expect(handled).toEqual(ALL_SEEN.flatMap((fields) => [fields, Renamed]))
  })

  it('logs and counts an event that the subscribed class refuses, and handles the next', async () => {
    const logger = new RecordingLogger()
    const bus = new InMemoryEventBus({ logger })
    const handled: unknown[] = []
    bus.subscribe(Renamed, (event) => void handled.push(seen(event)))

    await bus.publish([ofVersion(1, { n: -1 }), ofVersion(1, { n: 7 })])

    expect(handled).toEqual([[7, 'piece', 3]])
    expect(bus.getStats()).toMatchObject({ eventsPublished: 2, handlersInvoked: 1, handlerErrors: 1 })
    expect(logger.lines.map(({ message }) => message)).toEqual(['event refused by its class'])
  })

  it('passes an event without a class on as it is', async () => {
    const bus = quiet()
    const handled: DomainEvent[] = []
    bus.subscribeToAllEvents((event) => void handled.push(event))
    const event = new GenericEvent({ aggregateId: 'a', aggregateType: 'A', eventType: 'E', data: {} })

    await bus.publish([event])

    expect(handled).toEqual([event])
    expect(handled[0]).toBe(event)
  })

  it('passes the events of one call to every handler in order', async () => {
    const bus = new InMemoryEventBus()
    const first: number[] = []
    const second: number[] = []
    bus.subscribe(OrderCreated, (event) => void first.push(event.aggregateVersion))
    bus.subscribe(OrderCreated, async (event) => {
      await turn()
      second.push(event.aggregateVersion)
    })

    await bus.publish([1, 2, 3].map((version) => orderCreated().withAggregateVersion(version)))

    expect([first, second]).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ])
  })

  it('of an empty array does nothing and counts nothing', async () => {
    const bus = new InMemoryEventBus()

    await bus.publish([])
    await bus.publish([], { background: true })

    expect(bus.getStats()).toEqual({
      eventsPublished: 0,
      handlersInvoked: 0,
      handlerErrors: 0,
      eventsDiscarded: 0,
      backgroundTasksCreated: 0,
      backgroundTasksCompleted: 0,
    })
  })

  it('of an event without a handler is counted', async () => {
    const bus = new InMemoryEventBus()

    await bus.publish([orderCreated()])

    expect(bus.getStats()).toMatchObject({ eventsPublished: 1, handlersInvoked: 0 })
  })

  it.each([
    [
      [{ eventType: 'OrderCreated' }],
      'publish takes an array of events (instances of a class created with defineEvent), got an object.',
    ],
    [
      [new Proxy(orderCreated(), {})],
      'publish takes an array of events (instances of a class created with defineEvent), got an instance of ' +
        'OrderCreated. It is a proxy of an event, or inherits from one. Pass the event itself.',
    ],
    ['OrderCreated', 'publish takes an array of events, got "OrderCreated".'],
    [undefined, 'publish takes an array of events, got undefined.'],
  ])('of a value that is not an event is refused in one sentence: %o', async (events, message) => {
    const bus = new InMemoryEventBus()

    const publishing = bus.publish(events as unknown as DomainEvent[])

    await expect(publishing).rejects.toThrow(new TypeError(message))
  })

  it('publishes no event if one element is not an event', async () => {
    const bus = new InMemoryEventBus()
    const seen: DomainEvent[] = []
    bus.subscribe(OrderCreated, (event) => void seen.push(event))

    const publishing = bus.publish([orderCreated(), {} as DomainEvent])

    await expect(publishing).rejects.toThrow(TypeError)
    expect(seen).toEqual([])
  })
})

describe('the handlers of one event', () => {
  it('run concurrently: two that wait for each other both finish', async () => {
    const bus = new InMemoryEventBus()
    const a = Promise.withResolvers<void>()
    const b = Promise.withResolvers<void>()
    bus.subscribe(OrderCreated, async () => {
      a.resolve()
      await b.promise
    })
    bus.subscribe(OrderCreated, async () => {
      b.resolve()
      await a.promise
    })

    await bus.publish([orderCreated()])

    expect(bus.getStats().handlersInvoked).toBe(2)
  })

  it('all end before one of the next event starts', async () => {
    const bus = new InMemoryEventBus()
    const log: string[] = []
    for (const turns of [0, 1, 3]) {
      bus.subscribe([OrderCreated, OrderShipped], async ({ eventType }) => {
        log.push(`start ${eventType}`)
        for (let n = 0; n < turns; n += 1) await turn()
        log.push(`end ${eventType}`)
      })
    }

    await bus.publish([orderCreated(), orderShipped()])

    expect(log.slice(0, 6).every((line) => line.endsWith('OrderCreated'))).toBe(true)
    expect(log.slice(6).every((line) => line.endsWith('OrderShipped'))).toBe(true)
    expect(log).toHaveLength(12)
  })

  it('start in the order of their subscriptions, wildcard handlers last', async () => {
    const bus = new InMemoryEventBus()
    const started: string[] = []
    bus.subscribeToAllEvents(() => void started.push('wildcard'))
    bus.subscribe(OrderCreated, () => void started.push('first'))
    bus.subscribe(OrderCreated, () => void started.push('second'))

    await bus.publish([orderCreated()])

    expect(started).toEqual(['first', 'second', 'wildcard'])
  })
})

describe('a handler that fails', () => {
  it('stops no other handler, and publish resolves', async () => {
    const bus = quiet()
    const ran: string[] = []
    bus.subscribe(OrderCreated, fail('sync'))
    bus.subscribe(OrderCreated, async () => Promise.reject(new Error('async')))
    bus.subscribe(OrderCreated, () => void ran.push('B'))
    bus.subscribeToAllEvents(() => void ran.push('C'))

    await bus.publish([orderCreated()])

    expect(ran).toEqual(['B', 'C'])
    expect(bus.getStats()).toMatchObject({ eventsPublished: 1, handlersInvoked: 2, handlerErrors: 2 })
  })

  it('is logged with the id and type of the event, its name and the error', async () => {
    const logger = new RecordingLogger()
    const bus = new InMemoryEventBus({ logger })
    const event = orderCreated()
    class Invoicing {
      async handle() {
        throw new Error('out of paper')
      }
    }
    bus.subscribe(OrderCreated, new Invoicing())

    await bus.publish([event])

    expect(logger.lines).toEqual([
      {
        level: 'error',
        message: 'handler failed',
        fields: {
          eventId: event.eventId,
          eventType: 'OrderCreated',
          handlerName: 'Invoicing',
          error: new Error('out of paper'),
        },
      },
    ])
  })

  it.each([
    [
      'a function',
      function sendMail() {
        throw new Error('x')
      },
      {},
      'sendMail',
    ],
    ['an arrow function without a name', (() => fail('x'))(), {}, 'anonymous'],
    ['a handler with a name of its own', fail('x'), { name: 'mailer' }, 'mailer'],
  ])('is called by its name: %s', async (_kind, handler, options, name) => {
    const logger = new RecordingLogger()
    const bus = new InMemoryEventBus({ logger })
    bus.subscribe(OrderCreated, handler, options)

    await bus.publish([orderCreated()])

    expect(logger.lines[0]?.fields['handlerName']).toBe(name)
  })

  it('may throw anything', async () => {
    const logger = new RecordingLogger()
    const bus = new InMemoryEventBus({ logger })
    bus.subscribe(OrderCreated, () => {
      throw 'text'
    })

    await bus.publish([orderCreated()])

    expect(logger.lines[0]?.fields['error']).toEqual(
      new Error('A value that is not an Error was thrown: "text".'),
    )
  })

  it('leaves no unhandled rejection, whenever each of several rejects', async () => {
    const unhandled: unknown[] = []
    const onUnhandled = (reason: unknown) => unhandled.push(reason)
    process.on('unhandledRejection', onUnhandled)
    const bus = quiet()
    for (const turns of [0, 3, 1, 0, 2]) {
      bus.subscribe(OrderCreated, async () => {
        for (let n = 0; n < turns; n += 1) await turn()
        throw new Error(`after ${turns} turns`)
      })
    }

    await bus.publish([orderCreated(), orderCreated()])
    await turn()
    process.off('unhandledRejection', onUnhandled)

    expect(unhandled).toEqual([])
    expect(bus.getStats().handlerErrors).toBe(10)
  })
})

describe('a handler that changes the subscriptions while it runs', () => {
  it('by unsubscribing itself still handles the current event, and no further one', async () => {
    const bus = new InMemoryEventBus()
    let calls = 0
    const once = () => {
      calls += 1
      bus.unsubscribe(OrderCreated, once)
    }
    bus.subscribe(OrderCreated, once)

    await bus.publish([orderCreated(), orderCreated()])

    expect(calls).toBe(1)
  })

  it('by subscribing another: the new one runs from the next event on', async () => {
    const bus = new InMemoryEventBus()
    const late: DomainEvent[] = []
    const subscribing = bus.subscribe(OrderCreated, () => {
      subscribing.unsubscribe()
      bus.subscribe(OrderCreated, (event) => void late.push(event))
    })
    const [first, second] = [orderCreated('Order-1'), orderCreated('Order-2')]

    await bus.publish([first, second])

    expect(late).toEqual([second])
  })

  it('by unsubscribing another: that one still handles the current event', async () => {
    const bus = new InMemoryEventBus()
    const seen: DomainEvent[] = []
    const other = (event: DomainEvent) => void seen.push(event)
    bus.subscribe(OrderCreated, () => void bus.unsubscribe(OrderCreated, other))
    bus.subscribe(OrderCreated, other)
    const [first, second] = [orderCreated('Order-1'), orderCreated('Order-2')]

    await bus.publish([first, second])

    expect(seen).toEqual([first])
  })

  it('by clearing all: they all still handle the current event', async () => {
    const bus = new InMemoryEventBus()
    const seen: DomainEvent[] = []
    bus.subscribe(OrderCreated, () => bus.clearSubscribers())
    bus.subscribeToAllEvents((event) => void seen.push(event))

    await bus.publish([orderCreated(), orderCreated()])

    expect(seen).toHaveLength(1)
  })
})

describe('a handler that publishes', () => {
  it('and awaits it gets its event handled before its own ends', async () => {
    const bus = new InMemoryEventBus()
    const log: string[] = []
    bus.subscribe(OrderCreated, async () => {
      log.push('created starts')
      await bus.publish([orderShipped()])
      log.push('created ends')
    })
    bus.subscribe(OrderShipped, () => void log.push('shipped'))

    await bus.publish([orderCreated()])

    expect(log).toEqual(['created starts', 'shipped', 'created ends'])
  })

  it.each([100, 5000])('a chain of %i events runs to its end', async (length) => {
    const bus = new InMemoryEventBus()
    let calls = 0
    bus.subscribe(OrderCreated, async (event) => {
      calls += 1
      if (calls < length) await bus.publish([event.withAggregateVersion(calls + 1)])
    })

    await bus.publish([orderCreated()])

    expect(calls).toBe(length)
  })
})

describe('getStats', () => {
  it('is a snapshot', async () => {
    const bus = new InMemoryEventBus()
    const before = bus.getStats()

    await bus.publish([orderCancelled()])

    expect(before.eventsPublished).toBe(0)
    expect(bus.getStats().eventsPublished).toBe(1)
  })
})
