import { describe, expect, it } from 'vitest'
import { InMemoryEventBus } from '../../../src/index.ts'
import { MemoryBroker, MemoryBrokerEventBus, TestBus } from '../../../src/testing/index.ts'
import { billing, InvoiceIssued, placed, silent } from './observed-scene.ts'

async function consuming(options: { readonly broker?: MemoryBroker; readonly consumerGroup?: string } = {}) {
  const bus = new MemoryBrokerEventBus({ logger: silent, retryDelaysMs: [1, 1], ...options })
  billing(bus)
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  return bus
}

describe('TestBus.on', () => {
  it('works on a bus in memory', async () => {
    await using bus = new InMemoryEventBus({ logger: silent })
    billing(bus)
    using kit = TestBus.on(bus)

    const run = await kit.run(() => bus.publish([placed()]))

    run.expectPublished(InvoiceIssued)
    run.expectHandled('invoice')
  })

  it('leaves out events with other correlation ids', async () => {
    await using bus = await consuming()
    using kit = TestBus.on(bus)
    const others = bus.publish([placed(2), placed(3)])

    const run = await kit.publish(placed())

    await others
    run.expectPublished(InvoiceIssued)
    // A publish is confirmed and delivered at the same time, so the handler of the second event may end first.
    expect(run.runs.map(({ event }) => event.aggregateId).toSorted()).toEqual(['Invoice-Order-1', 'Order-1'])
  })

  it('lists what is missing at its deadline', async () => {
    const broker = new MemoryBroker()
    await using bus = await consuming({ broker })
    using kit = TestBus.on({ billing: bus }, { timeoutMs: 20 })
    const { promise, resolve } = Promise.withResolvers<void>()
    bus.use(async (_context, next) => {
      await promise
      await next()
    })

    await expect(kit.publish(placed())).rejects.toThrow(
      /After 20 ms: handlers and publishes run\.\n\nOrderPlaced of Order-1/,
    )
    resolve()
  })

  it('refuses buses that do not consume', async () => {
    await using bus = new MemoryBrokerEventBus()
    billing(bus)
    using kit = TestBus.on({ billing: bus })

    await expect(kit.publish(placed())).rejects.toThrow('billing must consume: await whenConsuming() first.')
  })

  it('fails if an ordered fault has not happened', async () => {
    await using bus = await consuming()
    const kit = TestBus.on(bus)
    kit.fail('invoise')

    expect(() => kit.stop()).toThrow('The fault of invoise has not happened')
  })

  it('shuffles by seed, and records nothing after its end', async () => {
    await using bus = await consuming()
    const kit = TestBus.on(bus)

    const run = await kit.shuffle([placed(1), placed(2), placed(3)], { seed: 7 })
    kit.stop()
    await bus.publish([placed(4)])

    run.expectHandled('invoice', 3)
    expect(run.tree()).toContain('(shuffled with seed 7)')
    expect(run.tree()).not.toContain('Order-4')
  })
})
