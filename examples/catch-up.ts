// A projection that catches up with 100,000 stored events, with a progress bar on a terminal:
// npm run build && node examples/catch-up.ts
import {
  type DomainEvent,
  defineEvent,
  InMemoryCheckpointStore,
  InMemoryEventBus,
  InMemoryEventStore,
  SubscriptionManager,
  type SubscriptionProgress,
} from 'eventspine'

class OrderPlaced extends defineEvent<{ readonly customer: string; readonly total: number }>()({
  type: 'OrderPlaced',
  aggregateType: 'Order',
}) {}

/** The read model: the total of each customer's orders. */
class CustomerTotals {
  readonly totals = new Map<string, number>()

  subscribedTo() {
    return [OrderPlaced]
  }

  handle({ customer, total }: OrderPlaced): void {
    this.totals.set(customer, (this.totals.get(customer) ?? 0) + total)
  }

  reset(): void {
    this.totals.clear()
  }
}

const WIDTH = 40

function drawBar({ position, head, eventsPerSecond, isCaughtUp }: SubscriptionProgress): void {
  if (!process.stderr.isTTY) return
  const done = Math.round((WIDTH * position) / Math.max(1, head))
  const bar = '#'.repeat(done).padEnd(WIDTH, '.')
  const speed = Math.round(eventsPerSecond).toLocaleString('en')
  process.stderr.write(`\r\x1b[K[${bar}] ${position}/${head} ${speed}/s${isCaughtUp ? '\n' : ''}`)
}

const eventStore = new InMemoryEventStore()
for (let n = 0; n < 100_000; n += 1) {
  const aggregateId = `Order-${n}`
  const events = [new OrderPlaced({ aggregateId, customer: ['Ada', 'Bo', 'Cy'][n % 3] ?? '', total: 10 })]
  await eventStore.appendEvents({ aggregateId, aggregateType: 'Order', events, expectedVersion: 'noStream' })
}

await using bus = new InMemoryEventBus()
let published = 0
bus.subscribeToAllEvents((_event: DomainEvent) => {
  published += 1
})

await using manager = new SubscriptionManager({ eventStore, checkpoints: new InMemoryCheckpointStore() })
const totals = new CustomerTotals()
manager.subscribe(totals, { onProgress: drawBar, progressIntervalMs: 20 })
manager.relay(bus, { name: 'outbox' })
manager.start()

await manager.whenCaughtUp('CustomerTotals')
console.log('Totals:', Object.fromEntries(totals.totals))

// Fills a second read model while the first one serves; the second then replaces the first.
const corrected = new CustomerTotals()
const { eventsHandled } = await manager.rebuild('CustomerTotals', { into: corrected })
console.log(`Rebuilt from ${eventsHandled} events:`, Object.fromEntries(corrected.totals))

await manager.whenCaughtUp('outbox')
const { status } = await manager.health()
console.log(`Published by the relay: ${published}, health: ${status}`)
