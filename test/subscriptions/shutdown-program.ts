// A process that runs until it is asked to end, and then writes how it ended: node shutdown-program.ts slow|hanging.
import { setTimeout as delay } from 'node:timers/promises'
import { InMemoryCheckpointStore, InMemoryEventStore, SubscriptionManager } from '../../src/index.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { fill, type Noted } from './subscription-scene.ts'

const [, , mode] = process.argv
const eventStore = new InMemoryEventStore()
await fill(eventStore, 0, 10_000)
const checkpoints = new InMemoryCheckpointStore()
const manager = new SubscriptionManager({ eventStore, checkpoints, logger: new RecordingLogger() })
manager.subscribe({
  name: 'catching-up',
  async handle({ n }: Noted, { signal }: { readonly signal: AbortSignal }) {
    console.log(`began ${n}`)
    await (mode === 'slow' ? delay(5) : new Promise((_, reject) => signal.addEventListener('abort', reject)))
    console.log(`done ${n}`)
  },
})
process.once('SIGINT', () => console.log('asked'))
const report = await manager.runUntilShutdown({ timeoutMs: 20_000 })
console.log(JSON.stringify({ ...report, checkpoint: (await checkpoints.load('catching-up'))?.position }))
