// Writes to a file until it is killed, and prints the ids of the stored events: node writer-program.ts <file> <durability>.
import { SqliteStores } from '../../src/sqlite/index.ts'
import { writeForever } from '../../src/testing/index.ts'

const [, , file = '', durability] = process.argv
const stores = new SqliteStores({ file, durability: durability === 'full' ? 'full' : 'normal' })
await writeForever(
  stores.events,
  (eventIds) => void process.stdout.write(`${eventIds.join('\n')}\n`),
  (work) => stores.transaction((tx) => work(tx.events)),
)
