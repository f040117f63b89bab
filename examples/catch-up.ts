// A projection that catches up with 20,000 stored events, with a progress bar on a terminal:
// npm run build && node examples/catch-up.ts
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type DomainEvent,
  defineEvent,
  InMemoryEventBus,
  SubscriptionManager,
  type SubscriptionProgress,
} from 'eventspine'
import { SqliteStores } from 'eventspine/sqlite'

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

const folder = mkdtempSync(join(tmpdir(), 'eventspine-catch-up-'))
await using stores = new SqliteStores({ file: join(folder, 'orders.db') })
const { events: eventStore, checkpoints } = stores
/** Appends that are under way at the same time are stored in one transaction. */
const AT_A_TIME = 500
for (let start = 0; start < 20_000; start += AT_A_TIME) {
  const appends = Array.from({ length: AT_A_TIME }, (_, index) => {
    const n = start + index
    const aggregateId = `Order-${n}`
    const events = [new OrderPlaced({ aggregateId, customer: ['Ada', 'Bo', 'Cy'][n % 3] ?? '', total: 10 })]
    return eventStore.appendEvents({
      aggregateId,
      aggregateType: 'Order',
      events,
      expectedVersion: 'noStream',
    })
  })
  await Promise.all(appends)
}

await using bus = new InMemoryEventBus()
let published = 0
bus.subscribeToAllEvents((_event: DomainEvent) => {
  published += 1
})

await using manager = new SubscriptionManager({ eventStore, checkpoints })
const totals = new CustomerTotals()
manager.subscribe(totals, { name: 'CustomerTotals', onProgress: drawBar, progressIntervalMs: 20 })
manager.relay(bus, { name: 'outbox' })
manager.start()

await manager.whenCaughtUp('CustomerTotals')
console.log('Totals:', Object.fromEntries(totals.totals))

// Fills a second read model while the first one is in use; the second then replaces the first.
const corrected = new CustomerTotals()
const { eventsHandled } = await manager.rebuild('CustomerTotals', { into: corrected })
console.log(`Rebuilt from ${eventsHandled} events:`, Object.fromEntries(corrected.totals))

// After a rebuild, the subscription reads its checkpoint again.
await manager.whenCaughtUp('CustomerTotals')
await manager.whenCaughtUp('outbox')
const { status } = await manager.health()
console.log(`Published by the relay: ${published}, health: ${status}`)
await manager.stop()
await stores.close()
rmSync(folder, { recursive: true })
