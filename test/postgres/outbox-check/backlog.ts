import { PASSES_ON } from '../../../src/events/passed-on-event.ts'
import { type DomainEvent, defineEvent, type Stores, SubscriptionManager } from '../../../src/index.ts'
import { type StoresPlace, storesOf } from '../../support/stores-of.ts'

export interface BacklogCheckOptions {
  readonly place: StoresPlace
  /** Number of events that are added while no relay runs. */
  readonly events: number
  /** Default: that of a relay. */
  readonly batchSize?: number
  readonly onProgress?: (line: string) => void
}

class Ordered extends defineEvent<{ readonly n: number }>()({ type: 'Ordered', aggregateType: 'Customer' }) {}

/** Number of events that one transaction adds. */
const PER_TRANSACTION = 1000
/** How far the heap may grow from the first tenth of the events to the last, in MiB. */
const MAX_GROWTH_MIB = 20
const CUSTOMERS = 100

/** Starts a relay when many events wait in the outbox. @returns a sentence for each broken promise. */
export async function checkBacklog(options: BacklogCheckOptions): Promise<readonly string[]> {
  await using stores = storesOf(options.place, [Ordered])
  stores.outbox.registerEvents([Ordered])
  await fill(stores, options.events)
  options.onProgress?.(`${options.events} events wait in the outbox`)
  return await catchUp(stores, options)
}

/** Adds the events while no relay runs. */
async function fill(stores: Stores, events: number): Promise<void> {
  for (let n = 0; n < events; n += PER_TRANSACTION) {
    const added = Array.from({ length: Math.min(PER_TRANSACTION, events - n) }, (_, index) => {
      const aggregateVersion = 1 + Math.floor((n + index) / CUSTOMERS)
      return new Ordered({
        aggregateId: `customer-${(n + index) % CUSTOMERS}`,
        aggregateVersion,
        n: n + index,
      })
    })
    await stores.transaction((tx) => tx.outbox.add(added))
  }
}

async function catchUp(
  stores: Stores,
  { events, batchSize, onProgress }: BacklogCheckOptions,
): Promise<readonly string[]> {
  const faults: string[] = []
  const heapMib: number[] = []
  const last = new Map<string, number>()
  let published = 0
  let isOrdered = true
  const publish = async (batch: readonly DomainEvent[]) => {
    for (const event of batch) {
      const { aggregateId, aggregateVersion } = event
      isOrdered &&= (last.get(aggregateId) ?? 0) + 1 === aggregateVersion
      last.set(aggregateId, aggregateVersion)
    }
    const tenths = Math.floor((10 * published) / events)
    published += batch.length
    if (Math.floor((10 * published) / events) > tenths) heapMib.push(usedMib())
  }
  await using manager = new SubscriptionManager({ eventStore: stores.outbox })
  // As the bus of a broker, it takes events that are not decoded.
  const bus = { publish, [PASSES_ON]: true }
  manager.relay(bus, { name: 'relay', ...(batchSize !== undefined && { batchSize }) })
  const startedAt = performance.now()
  manager.start()
  await manager.whenCaughtUp('relay')
  const seconds = (performance.now() - startedAt) / 1000
  onProgress?.(`published ${published} events, ${Math.round(published / seconds)} per second`)
  onProgress?.(`heap after each tenth: ${heapMib.map((mib) => mib.toFixed(0)).join(', ')} MiB`)
  await manager.stop()
  const { events: left } = await stores.outbox.readPage({ limit: 10 })
  const growth = Math.max(...heapMib.slice(1)) - (heapMib[0] ?? 0)
  if (published !== events) faults.push(`${published} of ${events} events were published`)
  if (!isOrdered) faults.push('the events of an aggregate were published out of order')
  if (growth > MAX_GROWTH_MIB) faults.push(`the heap grew by ${growth.toFixed(0)} MiB`)
  if (left.length > 1) faults.push('published events are left in the outbox')
  return faults
}

function usedMib(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 2 ** 20
}
