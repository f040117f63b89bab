// Runs a subscription under a lease: node subscriber-program.ts '{"place":{...},"instanceId":"a","leaseTtlMs":2000}'.
// Prints a line for each event that it handled. SIGTERM stops it.
import { SubscriptionManager } from '../../src/index.ts'
import { RecordingLogger } from './recording-logger.ts'
import { type StoresPlace, storesOf } from './stores-of.ts'

// Written by `startSubscriber`.
const { place, ...options } = JSON.parse(process.argv[2] ?? '') as {
  readonly place: StoresPlace
  readonly instanceId: string
  readonly leaseTtlMs: number
}
const stores = storesOf(place)
const { events: eventStore, checkpoints, leases } = stores
const logger = new RecordingLogger()
const manager = new SubscriptionManager({ eventStore, checkpoints, leases, logger, ...options })
const handle = ({ eventId }: { readonly eventId: string }) => void process.stdout.write(`${eventId}\n`)
manager.subscribe({ name: 's', handle }, { checkpointEveryEvents: 1, pollIntervalMs: 200 })
manager.start()
process.once('SIGTERM', async () => {
  await manager.stop()
  await stores.close()
})
