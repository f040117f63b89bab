// Catches up in a process of its own, to be killed: node crash-program.ts <checkpoints> <log> <stored> <live>.
import { openSync, writeSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { FileCheckpointStore, InMemoryEventStore, SubscriptionManager } from '../../src/index.ts'
import { append, fill, type Noted } from './subscription-scene.ts'

const [, , directory = '', logFile = '', storedText = '', liveText = ''] = process.argv
const [stored, live] = [Number(storedText), Number(liveText)]
const checkpoints = new FileCheckpointStore(directory)
const resumed = (await checkpoints.load('crashing')) ?? 0

// The store is in memory: each process fills it again, with what the one before it had seen appended.
const eventStore = new InMemoryEventStore()
const present = Math.max(stored, resumed)
await fill(eventStore, 0, present)

const log = openSync(logFile, 'a')
writeSync(log, `resumed ${resumed}\n`)
const manager = new SubscriptionManager({ eventStore, checkpoints })
const handle = ({ n }: Noted) => void writeSync(log, `${n}\n`)
manager.subscribe({ name: 'crashing', handle }, { checkpointEveryEvents: 500 })
manager.start()
for (let n = present; n < stored + live; n += 1) {
  await append(eventStore, n, n + 1)
  if (n % 10 === 0) await nextTurn()
}
await manager.whenProcessed(stored + live)
await manager.stop()
writeSync(log, 'ended\n')
