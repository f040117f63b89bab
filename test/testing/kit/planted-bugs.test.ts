import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { DiscardError, defineEvent, type EventBus, NonRetryableError } from '../../../src/index.ts'
import { TestBus, type TestRun } from '../../../src/testing/index.ts'

class OrderPlaced extends defineEvent({
  type: 'OrderPlaced',
  aggregateType: 'Order',
  schema: z.object({ total: z.number() }),
}) {}

class OrderPaid extends defineEvent({
  type: 'OrderPaid',
  aggregateType: 'Payment',
  schema: z.object({ order: z.string() }),
}) {}

class InvoiceIssued extends defineEvent({
  type: 'InvoiceIssued',
  aggregateType: 'Invoice',
  schema: z.object({ amount: z.number().nonnegative() }),
}) {}

const placed = (n = 1, total = 42) => new OrderPlaced({ aggregateId: `Order-${n}`, total })
const paid = (n = 1) => new OrderPaid({ aggregateId: `Payment-${n}`, order: `Order-${n}` })
const invoiceFor = ({ aggregateId, total }: Pick<OrderPlaced, 'aggregateId' | 'total'>) =>
  new InvoiceIssued({ aggregateId: `Invoice-${aggregateId}`, amount: total })

const name = 'invoice'
const onPlaced =
  (handler: (event: OrderPlaced, bus: EventBus, attempt: number) => unknown) => (bus: EventBus) => {
    bus.subscribe(OrderPlaced, (event, { attempt }) => handler(event, bus, attempt), { name })
  }
const issue = (event: OrderPlaced, bus: EventBus) => bus.publish([invoiceFor(event)])

interface Bug {
  readonly bug: string
  readonly register: (bus: EventBus) => unknown
  /** What a test of the handler does. Default: one event. */
  readonly act?: (kit: TestBus) => Promise<TestRun>
  /** What the test expects of a correct handler. Default: one invoice. */
  readonly expected?: (run: TestRun) => unknown
  readonly message: RegExp
}

const once = (run: TestRun) => run.expectPublished(InvoiceIssued)

/** State of a handler, fresh for each test. */
const counting =
  (handler: (event: OrderPlaced, bus: EventBus, count: number) => unknown) => (bus: EventBus) => {
    let count = 0
    onPlaced((event) => {
      count += 1
      return handler(event, bus, count)
    })(bus)
  }

const BUGS: readonly Bug[] = [
  {
    bug: 'is not subscribed',
    register: () => {},
    message: /InvoiceIssued published once, but published 0 times/,
  },
  {
    bug: 'is subscribed to another class',
    register: (bus) => bus.subscribe(OrderPaid, () => {}, { name }),
    expected: (run) => run.expectHandled(name),
    message: /handler invoice to succeed once, but it succeeded 0 times/,
  },
  {
    bug: 'publishes nothing',
    register: onPlaced(() => {}),
    message: /published once, but published 0 times/,
  },
  {
    bug: 'publishes twice',
    register: onPlaced((event, bus) => bus.publish([invoiceFor(event), invoiceFor(event)])),
    message: /published once, but published 2 times/,
  },
  {
    bug: 'is subscribed twice',
    register: (bus) => {
      bus.subscribe(OrderPlaced, (event) => issue(event, bus), { name: 'first' })
      bus.subscribe(OrderPlaced, (event) => issue(event, bus), { name: 'second' })
    },
    message: /published once, but published 2 times/,
  },
  {
    bug: 'publishes an event that it should not',
    register: onPlaced((event, bus) => bus.publish([invoiceFor(event), paid()])),
    expected: (run) => run.expectNotPublished(OrderPaid),
    message: /OrderPaid published 0 times, but published once/,
  },
  {
    bug: 'always throws',
    register: onPlaced(() => Promise.reject(new Error('no paper'))),
    expected: (run) => run.expectNoFailures(),
    message: /invoice attempt 4 failed: no paper/,
  },
  {
    bug: 'fails at the first attempt only',
    register: onPlaced((_event, _bus, attempt) => {
      if (attempt === 1) throw new Error('not ready')
    }),
    expected: (run) => run.expectNoFailures(name),
    message: /invoice attempt 1 failed: not ready\n.*attempt 2 handled/,
  },
  {
    bug: 'publishes an invalid event',
    register: onPlaced((event, bus) => bus.publish([invoiceFor({ ...event, total: -1 })])),
    expected: (run) => run.expectNoFailures(),
    message: /no failures of handlers, but invoice failed: .*amount/s,
  },
  {
    bug: 'changes the event',
    register: onPlaced((event) => Object.assign(event, { total: 0 })),
    expected: (run) => run.expectHandled(name),
    message: /succeed once, but it succeeded 0 times.*read only/s,
  },
  {
    bug: 'publishes before it fails',
    register: counting(async (event, bus, count) => {
      await issue(event, bus)
      if (count === 1) throw new Error('no paper')
    }),
    message: /published once, but published 2 times/,
  },
  {
    bug: 'gives up at an error that a retry fixes',
    register: counting((_event, _bus, count) => {
      if (count === 1) throw new NonRetryableError('printer busy')
    }),
    expected: (run) => run.expectDeadLetters(0),
    message: /Expected 0 dead letters, but there are 1.*printer busy/s,
  },
  {
    bug: 'retries an error that no retry fixes',
    register: onPlaced(() => Promise.reject(new Error('no such customer'))),
    expected: (run) => run.expectFailed(name, 1),
    message: /handler invoice to fail once, but it failed 4 times/,
  },
  {
    bug: 'discards an event that it should handle',
    register: onPlaced(() => Promise.reject(new DiscardError('too small'))),
    expected: (run) => run.expectHandled(name),
    message: /succeed once, but it succeeded 0 times.*too small/s,
  },
  {
    bug: 'swallows the error of its publish',
    register: onPlaced((event, bus) => issue(event, bus).catch(() => {})),
    act: (kit) =>
      kit.run(async () => {
        await kit.bus.publish([placed()])
        kit.broker.refusesPublishes = true
      }),
    message:
      /published once, but published 0 times.*InvoiceIssued of Invoice-Order-1 by invoice — not published/s,
  },
  {
    bug: 'does not await its publish',
    register: onPlaced((event, bus) => void issue(event, bus)),
    message: /invoice ended before its publish of InvoiceIssued: .* Is an await missing\?/,
  },
  {
    bug: 'publishes in a later turn of the event loop',
    register: onPlaced((event, bus) => void setImmediate(() => void issue(event, bus))),
    message: /invoice ended before its publish of InvoiceIssued/,
  },
  {
    bug: 'hangs',
    register: onPlaced((_event, bus) => new Promise((resolve) => HANGING.set(bus, resolve))),
    message: /After 50 ms, 1 handlers and publishes still run/,
  },
  {
    bug: 'publishes what it handles, without an end',
    register: onPlaced((event, bus) =>
      bus.isShutdown ? undefined : bus.publish([placed(1, event.total + 1)]),
    ),
    message: /After 50 ms, \d+ handlers and publishes still run/,
  },
  {
    bug: 'handles an event that arrives twice twice',
    register: onPlaced(issue),
    act: async (kit) => {
      const event = placed()
      await kit.publish(event)
      return kit.redeliver(event)
    },
    expected: (run) => run.expectNotPublished(InvoiceIssued),
    message: /InvoiceIssued published 0 times, but published once/,
  },
  {
    bug: 'repeats its effect after a crash',
    register: onPlaced(issue),
    act: (kit) => {
      kit.crash(name)
      return kit.publish(placed())
    },
    message: /published once, but published 2 times/,
  },
  {
    bug: 'assumes an order of different aggregates',
    register: (bus) => {
      const orders = new Set<string>()
      bus.subscribe(OrderPlaced, ({ aggregateId }) => void orders.add(aggregateId), { name: 'remember' })
      const settle = ({ order }: OrderPaid) => {
        if (!orders.has(order)) throw new NonRetryableError(`${order} is unknown`)
      }
      bus.subscribe(OrderPaid, settle, { name: 'settle' })
    },
    act: (kit) => kit.shuffle([placed(1), paid(1), placed(2), paid(2)], { seed: 4 }),
    expected: (run) => run.expectNoFailures(),
    message: /settle failed: Order-\d is unknown.*\(shuffled with seed 4\)/s,
  },
]

/** Ends the handler that hangs. */
const HANGING = new WeakMap<EventBus, (value: undefined) => void>()

describe('a test with the kit fails if a handler', () => {
  it.each(BUGS)('$bug', async ({ register, act, expected = once, message }) => {
    const kit = await TestBus.start(register, {
      timeoutMs: message.source.startsWith('After 50') ? 50 : 10_000,
    })
    const test = async () => expected(await (act?.(kit) ?? kit.publish(placed())))

    const error: unknown = await test().then(
      () => undefined,
      (thrown: unknown) => thrown,
    )

    HANGING.get(kit.bus)?.(undefined)
    kit.broker.refusesPublishes = false
    await kit.stop().catch(() => {})
    expect(error).toBeInstanceOf(Error)
    expect(String(error)).toMatch(message)
    // The tree: at least the event of the test.
    expect(String(error)).toMatch(
      /\n\n(?:\(shuffled with seed 4\)\n)?(?:OrderPlaced of Order|OrderPaid of Payment)-\d/,
    )
  })
})
