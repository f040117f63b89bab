// Writes a row and adds an event to the outbox in a transaction of Knex, then relays the event:
// `npm run --silent build && node examples/postgres-knex.ts postgres://localhost/shop`.
import { defineEvent, SubscriptionManager } from 'eventspine'
import { type PostgresClient, PostgresStores } from 'eventspine/postgres'
import knex from 'knex'

class OrderPlaced extends defineEvent<{ readonly total: number }>()({
  type: 'OrderPlaced',
  aggregateType: 'Order',
}) {}

const connection = process.argv[2] ?? 'postgres://localhost/postgres'
const db = knex({ client: 'pg', connection })
await using stores = new PostgresStores({ postgresUrl: connection, schema: 'example_knex' })
await stores.ready()
await db.raw('create table if not exists example_knex_stock (item text, count int not null)')

const id = `order-${Date.now()}`
await db.transaction(async (trx) => {
  await trx('example_knex_stock').insert({ item: id, count: -3 })
  // The connection of this transaction, which Knex keeps until the commit.
  const client: PostgresClient = await trx.client.acquireConnection()
  await stores.within(client).outbox.add([new OrderPlaced({ aggregateId: id, total: 3 })])
})

const { count } = await db('example_knex_stock').where({ item: id }).first()
await using manager = new SubscriptionManager({ eventStore: stores.outbox })
stores.outbox.registerEvents([OrderPlaced])
const publish = async (events: readonly object[]) => {
  for (const event of events)
    if (event instanceof OrderPlaced) console.log(`Order of ${event.total}, stock ${count}`)
}
manager.relay({ publish }, { name: 'print' })
manager.start()
await manager.whenCaughtUp('print')
await db.destroy()
