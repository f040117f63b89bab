import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineEvent, PublishError } from '../../../src/index.ts'
import { MemoryBrokerEventBus, type RegisterHandlers, TestBus } from '../../../src/testing/index.ts'
import { paced } from '../../support/pace.ts'

class OrderPlaced extends defineEvent({
  type: 'OrderPlaced',
  aggregateType: 'Order',
  schema: z.object({ total: z.number() }),
}) {}

class InvoiceIssued extends defineEvent({
  type: 'InvoiceIssued',
  aggregateType: 'Invoice',
  schema: z.object({ amount: z.number() }),
}) {}

const placed = (n = 1, total = 42) => new OrderPlaced({ aggregateId: `Order-${n}`, total })
const invoiceFor = ({ aggregateId, total }: OrderPlaced) =>
  new InvoiceIssued({ aggregateId: `Invoice-${aggregateId}`, amount: total })

const billing: RegisterHandlers = (bus) => {
  bus.subscribe(OrderPlaced, (event) => bus.publish([invoiceFor(event)]), { name: 'invoice' })
}

describe('a run', () => {
  it('resolves when everything that follows has ended, with all that was published', async () => {
    await using kit = await TestBus.start({
      billing,
      mails: (bus) => bus.subscribe(InvoiceIssued, () => delay(5), { name: 'mail' }),
    })

    const run = await kit.publish(placed())

    const [invoice] = run.expectPublished(InvoiceIssued)
    expect(invoice?.amount).toBe(42)
    run.expectHandled('invoice')
    run.expectHandled('mail')
    run.expectNoFailures()
    expect(run.tree()).toBe(
      [
        'OrderPlaced of Order-1',
        '  -> billing/invoice attempt 1 handled',
        '  InvoiceIssued of Invoice-Order-1 by invoice',
        '    -> mails/mail attempt 1 handled',
      ].join('\n'),
    )
  })

  it('answers at once that an event was not published', async () => {
    await using kit = await TestBus.start((bus) => bus.subscribe(OrderPlaced, () => {}, { name: 'ignores' }))
    await kit.publish(placed())
    const cpu = process.cpuUsage()

    const run = await kit.publish(placed(2))

    run.expectNotPublished(InvoiceIssued)
    const { user, system } = process.cpuUsage(cpu)
    expect((user + system) / 1000).toBeLessThan(paced(20))
  })

  it('includes what the program under test publishes', async () => {
    await using kit = await TestBus.start(billing)

    const run = await kit.run(() => kit.bus.publish([placed()]))

    expect(run.published().map(({ eventType }) => eventType)).toEqual(['OrderPlaced', 'InvoiceIssued'])
  })

  it('includes background publishes', async () => {
    await using kit = await TestBus.start(billing)

    const run = await kit.run(() => kit.bus.publish([placed()], { background: true }))

    run.expectHandled('invoice')
  })

  it('is refused inside a handler, which would wait for itself', async () => {
    await using kit = await TestBus.start((bus) => {
      bus.subscribe(OrderPlaced, () => kit.publish(placed(2)), { name: 'nests' })
    })

    const run = await kit.publish(placed())

    expect(run.failed('nests')[0]?.error?.message).toContain('A handler must publish with its bus')
  })
})

describe('a failed expectation', () => {
  const failing: readonly (readonly [name: string, register: RegisterHandlers, message: RegExp])[] = [
    [
      'publishes nothing',
      (bus) => bus.subscribe(OrderPlaced, () => {}, { name: 'invoice' }),
      /published 0 times/,
    ],
    [
      'publishes twice',
      (bus) => {
        bus.subscribe(OrderPlaced, (event) => bus.publish([invoiceFor(event), invoiceFor(event)]), {
          name: 'invoice',
        })
      },
      /published once, but published 2 times/,
    ],
    [
      'throws',
      (bus) => bus.subscribe(OrderPlaced, () => Promise.reject(new Error('no paper')), { name: 'invoice' }),
      /invoice attempt 4 failed: no paper/,
    ],
  ]

  it.each(failing)('of a handler that %s shows the tree', async (_name, register, message) => {
    await using kit = await TestBus.start(register)
    const run = await kit.publish(placed())

    expect(() => run.expectPublished(InvoiceIssued)).toThrow(message)
    expect(() => run.expectPublished(InvoiceIssued)).toThrow(
      /OrderPlaced of Order-1\n {2}-> default\/invoice attempt 1/,
    )
  })

  it('is that of a handler that does not await its publish', async () => {
    const kit = await TestBus.start((bus) => {
      const publishLater = async (event: OrderPlaced) => {
        await null
        await bus.publish([invoiceFor(event)])
      }
      bus.subscribe(OrderPlaced, (event) => void publishLater(event), { name: 'invoice' })
    })

    await expect(kit.publish(placed())).rejects.toThrow(
      /invoice ended before its publish of InvoiceIssued: .* Is an await missing\?/,
    )
    await kit.stop()
  })

  it.each([
    ['at once', (publish: () => Promise<void>) => void publish()],
    [
      'in a later turn of the event loop',
      (publish: () => Promise<void>) => void setImmediate(() => void publish()),
    ],
  ])('is that of a handler that publishes %s, and does not await it', async (_when, start) => {
    const kit = await TestBus.start((bus) => {
      bus.subscribe(OrderPlaced, (event) => start(() => bus.publish([invoiceFor(event)])), {
        name: 'invoice',
      })
    })

    await expect(kit.publish(placed())).rejects.toThrow(/invoice ended before its publish of InvoiceIssued/)
    await kit.stop()
  })

  it('is not that of a handler that publishes in the background', async () => {
    await using kit = await TestBus.start((bus) => {
      bus.subscribe(OrderPlaced, (event) => bus.publish([invoiceFor(event)], { background: true }), {
        name: 'invoice',
      })
    })

    const run = await kit.publish(placed())

    run.expectPublished(InvoiceIssued)
  })

  it('is that of a handler that hangs', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const kit = await TestBus.start((bus) => bus.subscribe(OrderPlaced, () => promise, { name: 'hangs' }), {
      timeoutMs: 50,
    })

    await expect(kit.publish(placed())).rejects.toThrow(/After 50 ms, 1 handlers and publishes still run/)
    resolve()
    await kit.stop()
  })
})

describe('retries', () => {
  it('skip their delays, in the order of the times', async () => {
    const delays = { maxRetries: 4, retryBaseDelayMs: 1000, retryMaxDelayMs: 60_000, retryJitter: 0 }
    await using kit = await TestBus.start(
      (bus) => bus.subscribe(OrderPlaced, () => Promise.reject(new Error('always')), { name: 'mail' }),
      delays,
    )
    const cpu = process.cpuUsage()

    const run = await kit.publish(placed())

    expect(run.failed('mail').map(({ attempt, atMs }) => [attempt, atMs])).toEqual([
      [1, 0],
      [2, 1000],
      [3, 3000],
      [4, 7000],
      [5, 15_000],
    ])
    const [letter] = run.expectDeadLetters(1)
    expect(letter).toMatchObject({ errorMessage: 'always', attempts: 5, handlerNames: ['mail'] })
    const { user, system } = process.cpuUsage(cpu)
    expect((user + system) / 1000).toBeLessThan(paced(50))
  })

  it('wait for skip if the delays are manual', async () => {
    await using kit = await TestBus.start(billing, {
      delays: 'manual',
      retryBaseDelayMs: 60_000,
      retryJitter: 0,
    })
    kit.fail('invoice')

    const first = await kit.publish(placed())
    const early = await kit.skip(59_999)
    const late = await kit.skip(1)

    expect(first.failed('invoice')).toHaveLength(1)
    early.expectHandled('invoice', 0)
    late.expectHandled('invoice')
    expect(kit.skippedMs).toBe(60_000)
  })

  it('of two kits have their own clocks', async () => {
    await using one = await TestBus.start(billing)
    await using other = await TestBus.start(billing)
    one.fail('invoice', { times: 2 })

    await Promise.all([one.publish(placed()), other.publish(placed())])

    expect(one.skippedMs).toBeGreaterThan(2000)
    expect(other.skippedMs).toBe(0)
  })

  it('fail with the given error, and as often as ordered', async () => {
    await using kit = await TestBus.start(billing)
    kit.fail('invoice', { times: 2, error: new Error('printer on fire') })

    const run = await kit.publish(placed())

    expect(run.failed('invoice').map(({ error }) => error?.message)).toEqual([
      'printer on fire',
      'printer on fire',
    ])
    run.expectHandled('invoice')
    run.expectDeadLetters(0)
  })
})

describe('a crash', () => {
  it('between handling and acknowledging brings the event to a successor', async () => {
    await using kit = await TestBus.start(billing)
    kit.crash('invoice')

    const run = await kit.publish(placed())

    run.expectHandled('invoice', 2)
    run.expectPublished(InvoiceIssued, 2)
  })

  it('that does not happen fails the test when the kit stops', async () => {
    const kit = await TestBus.start(billing)
    kit.crash('invoise')
    await kit.publish(placed())

    await expect(kit.stop()).rejects.toThrow('The fault of invoise has not happened')
  })
})

it('redelivers an event with the same id', async () => {
  const seen = new Set<string>()
  await using kit = await TestBus.start((bus) => {
    bus.subscribe(
      OrderPlaced,
      (event) => (seen.has(event.eventId) ? undefined : bus.publish([invoiceFor(event)])),
      {
        name: 'invoice',
      },
    )
    bus.subscribe(OrderPlaced, ({ eventId }) => seen.add(eventId), { name: 'remembers' })
  })
  const event = placed()
  await kit.publish(event)

  const run = await kit.redeliver(event)

  run.expectHandled('invoice')
  run.expectNotPublished(InvoiceIssued)
})

it('shuffles by seed, and keeps the order of each aggregate', async () => {
  const orders: string[] = []
  await using kit = await TestBus.start((bus) =>
    bus.subscribe(OrderPlaced, ({ aggregateId, total }) => orders.push(`${aggregateId} ${total}`), {
      name: 'sees',
    }),
  )
  const events = [1, 2, 3].flatMap((n) => [placed(n, 1), placed(n, 2)])

  const run = await kit.shuffle(events, { seed: 7 })
  const first = orders.splice(0)
  await kit.shuffle(events, { seed: 7 })

  expect(orders).toEqual(first)
  expect(first).not.toEqual(events.map(({ aggregateId, total }) => `${aggregateId} ${total}`))
  for (const n of [1, 2, 3]) expect(first.indexOf(`Order-${n} 1`)).toBeLessThan(first.indexOf(`Order-${n} 2`))
  expect(run.tree()).toContain('(shuffled with seed 7)')
})

describe('an outage', () => {
  it('fails publishes at once, and delivers what was retried after it', async () => {
    await using kit = await TestBus.start({
      web: () => {},
      billing,
    })
    kit.outage()

    await expect(kit.publish(placed())).rejects.toThrow(PublishError)
    const run = await kit.restore()

    run.expectHandled('invoice', 0)
    const after = await kit.publish(placed())
    after.expectHandled('invoice')
  })

  it('that loses confirmations stores the events', async () => {
    await using kit = await TestBus.start(billing)
    kit.outage('unknown')

    const error = await kit.publish(placed()).catch((thrown: unknown) => thrown)

    expect(error).toBeInstanceOf(PublishError)
    const run = await kit.restore()
    run.expectDeadLetters(0)
  })
})

it('runs 100 tests of one event each in 0.5 seconds of CPU time', async () => {
  const batch = async () => {
    const cpu = process.cpuUsage()
    for (let n = 0; n < 100; n += 1) {
      await using kit = await TestBus.start(billing)
      const run = await kit.publish(placed(n))
      run.expectPublished(InvoiceIssued)
    }
    const { user, system } = process.cpuUsage(cpu)
    return (user + system) / 1000
  }

  // The first one also compiles.
  expect(Math.min(await batch(), await batch(), await batch())).toBeLessThan(paced(500))
})

describe('a kit refuses', () => {
  it('an array in place of events, also over the bus of a program', async () => {
    await using kit = await TestBus.start(billing)
    using observed = TestBus.on(kit.bus)
    const events = [placed()] as never

    await expect(kit.publish(events)).rejects.toThrow(/not an array of them: call publish\(\.\.\.events\)/)
    await expect(observed.publish(events)).rejects.toThrow(/not an array of them/)
  })

  it.each([undefined, 'billing', {}, { billing: true }, new MemoryBrokerEventBus()])(
    '%s in place of a function that subscribes handlers',
    async (services) => {
      await expect(TestBus.start(services as never)).rejects.toThrow(
        /takes a function that subscribes handlers .* TestBus\.on observes a bus that exists\.$/,
      )
    },
  )
})
