import { expect, it } from 'vitest'
import type { BrokerEventBus } from '../../src/index.ts'
import { OrderCreated, orderCreated } from './order-events.ts'
import { waitFor } from './wait-for.ts'

/** A bus behind a proxy that can drop all traffic while its connections stay open. */
export interface FreezableBus {
  readonly bus: BrokerEventBus
  readonly freeze: () => void
  readonly thaw: () => void
}

/** Readiness on a real broker: down within 10 s of the loss, and up only when events flow again. */
export function brokerHealthTests(create: () => Promise<FreezableBus>): void {
  it('is down within 10 s when the broker goes silent, and up again when events flow', async () => {
    const { bus, freeze, thaw } = await create()
    let handled = 0
    bus.subscribe(OrderCreated, () => {
      handled += 1
    })
    bus.startConsumingInBackground()
    await bus.whenConsuming()
    await waitFor(async () => (await bus.health()).status === 'up')

    freeze()
    await waitFor(async () => (await bus.health()).status === 'down', { timeoutMs: 10_000 })
    thaw()
    await waitFor(async () => (await bus.health()).status === 'up', { timeoutMs: 15_000 })
    await bus.publish([orderCreated()])
    await waitFor(() => handled === 1)

    const { status, checks } = await bus.health()
    expect([status, checks.lag.value, checks.deadLetters.value]).toEqual(['up', expect.any(Number), 0])
  })
}
