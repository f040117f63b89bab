// Appends to a file that it may not write, and prints the error: node failing-program.ts <file>.
import { GenericEvent } from '../../src/index.ts'
import { SqliteStores } from '../../src/sqlite/index.ts'

const stores = new SqliteStores({ file: process.argv[2] ?? '' })
const stream = { aggregateId: 'a', aggregateType: 'Note' }
const events = [new GenericEvent({ ...stream, eventType: 'Noted', data: {} })]
try {
  await stores.events.appendEvents({ ...stream, events, expectedVersion: 'any' })
  console.log('stored')
} catch (error) {
  console.log(`${Reflect.get(Object(error), 'code')} ${String(error)}`)
}
await stores.close()
