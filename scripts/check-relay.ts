// npm run check:relay -- --store postgres --events 1000000: does a relay that was down catch up with flat memory?
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type DomainEvent, defineEvent, type Stores, SubscriptionManager } from '../src/index.ts'
import { dataFolder } from '../test/brokers/data-folder.ts'
import { launchBroker } from '../test/brokers/launch-broker.ts'
import { storesOf } from '../test/support/stores-of.ts'

class Ordered extends defineEvent<{ readonly n: number }>()({ type: 'Ordered', aggregateType: 'Customer' }) {}

/** Number of events that one transaction adds. */
const PER_TRANSACTION = 1000
/** How far the heap may grow from the first tenth of the events to the last, in MiB. */
const MAX_GROWTH_MIB = 20
const CUSTOMERS = 100

const { values } = parseArgs({
  options: { store: { type: 'string', default: 'sqlite' }, events: { type: 'string', default: '1000000' } },
})
const events = Number(values.events)
const start = performance.now()
const say = (line: string) =>
  console.log(`${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${line}`)

const folder = await mkdtemp(join(dataFolder, 'eventspine-relay-'))
const server = values.store === 'postgres' ? await launchBroker('postgres') : undefined
try {
  const place =
    server === undefined
      ? { file: join(folder, 'outbox.db') }
      : { postgresUrl: server.url, schema: 'check_relay' }
  await using stores = storesOf(place, [Ordered])
  stores.outbox.registerEvents([Ordered])
  await fill(stores)
  say(`${events} events wait in the outbox`)
  const faults = await catchUp(stores)
  for (const fault of faults) console.log(fault)
  process.exitCode = faults.length === 0 ? 0 : 1
} finally {
  await server?.dispose()
  await rm(folder, { recursive: true, force: true })
}

/** Adds the events while no relay runs. */
async function fill(stores: Stores): Promise<void> {
  for (let n = 0; n < events; n += PER_TRANSACTION) {
    const added = Array.from({ length: Math.min(PER_TRANSACTION, events - n) }, (_, index) => {
      return new Ordered({ aggregateId: `customer-${(n + index) % CUSTOMERS}`, n: n + index })
    })
    await stores.transaction((tx) => tx.outbox.add(added))
  }
}

/** @returns a sentence for each broken promise. */
async function catchUp(stores: Stores): Promise<readonly string[]> {
  const faults: string[] = []
  const heapMib: number[] = []
  const last = new Map<string, number>()
  let published = 0
  let isOrdered = true
  const publish = async (batch: readonly DomainEvent[]) => {
    for (const event of batch) {
      if (!(event instanceof Ordered)) continue
      isOrdered &&= (last.get(event.aggregateId) ?? -1) < event.n
      last.set(event.aggregateId, event.n)
    }
    const tenths = Math.floor((10 * published) / events)
    published += batch.length
    if (Math.floor((10 * published) / events) > tenths) heapMib.push(usedMib())
  }
  await using manager = new SubscriptionManager({ eventStore: stores.outbox })
  manager.relay({ publish }, { name: 'relay' })
  const startedAt = performance.now()
  manager.start()
  await manager.whenCaughtUp('relay')
  const seconds = (performance.now() - startedAt) / 1000
  say(`published ${published} events, ${Math.round(published / seconds)} per second`)
  say(`heap after each tenth: ${heapMib.map((mib) => mib.toFixed(0)).join(', ')} MiB`)
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
