// Catches up in a process of its own, to be killed: node crash-program.ts <checkpoints> <log> <stored> <live>.
import { openSync, writeSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { FileCheckpointStore, InMemoryEventStore, SubscriptionManager } from '../../src/index.ts'
import { Noted } from './subscription-scene.ts'

const [, , directory = '', logFile = '', storedText = '', liveText = ''] = process.argv
const [stored, live] = [Number(storedText), Number(liveText)]
const checkpoints = new FileCheckpointStore(directory)
const resumed = (await checkpoints.load('crashing'))?.position ?? 0

// The store is in memory: each process fills it again, with what the one before it had seen appended.
const eventStore = Object.assign(new InMemoryEventStore(), { identity: async () => 'the one store' })
const present = Math.max(stored, resumed)
for (let n = 0; n < present; n += 1) await appendNumber(n)

const log = openSync(logFile, 'a')
writeSync(log, `resumed ${resumed}\n`)
const manager = new SubscriptionManager({ eventStore, checkpoints })
const handle = ({ n }: Noted) => void writeSync(log, `${n}\n`)
manager.subscribe({ name: 'crashing', handle }, { checkpointEveryEvents: 500 })
manager.start()
for (let n = present; n < stored + live; n += 1) {
  await appendNumber(n)
  if (n % 10 === 0) await nextTurn()
}
await manager.whenProcessed(stored + live)
await manager.stop()
writeSync(log, 'ended\n')

/** Of the same id in each process. */
async function appendNumber(n: number): Promise<void> {
  const aggregateId = `a${n % 10}`
  const events = [new Noted({ aggregateId, n, eventId: `event ${n}` })]
  await eventStore.appendEvents({ aggregateId, aggregateType: 'Note', events, expectedVersion: 'any' })
}
