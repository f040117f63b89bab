// A process that writes to a store until it is killed. Prints the ids of the confirmed events, one transaction per line.
import { PostgresStores } from '../../src/postgres/index.ts'
import { writeForever } from '../../src/testing/index.ts'

const [postgresUrl = '', schema = '', prepare = ''] = process.argv.slice(2)
const stores = new PostgresStores({ postgresUrl, schema, migrate: 'run', prepare: prepare === 'prepare' })
await writeForever(
  stores.events,
  (eventIds) => process.stdout.write(`${eventIds.join(' ')}\n`),
  (work) => stores.transaction((tx) => work(tx.events)),
)
