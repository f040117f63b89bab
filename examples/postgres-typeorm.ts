// Saves an entity and adds an event to the outbox in a transaction of TypeORM, then relays the event:
// `npm run --silent build && node examples/postgres-typeorm.ts postgres://localhost/shop`.
import { defineEvent, SubscriptionManager } from 'eventspine'
import { type PostgresClient, PostgresStores } from 'eventspine/postgres'
import { DataSource, EntitySchema } from 'typeorm'

class OrderPlaced extends defineEvent<{ readonly total: number }>()({
  type: 'OrderPlaced',
  aggregateType: 'Order',
}) {}

const Stock = new EntitySchema<{ item: string; count: number }>({
  name: 'example_typeorm_stock',
  columns: { item: { type: 'text', primary: true }, count: { type: 'int' } },
})

const url = process.argv[2] ?? 'postgres://localhost/postgres'
const dataSource = new DataSource({ type: 'postgres', url, entities: [Stock], synchronize: true })
await dataSource.initialize()
await using stores = new PostgresStores({ postgresUrl: url, schema: 'example_typeorm' })
await stores.ready()

const id = `order-${Date.now()}`
await dataSource.transaction(async (entities) => {
  await entities.getRepository(Stock).insert({ item: id, count: -3 })
  // The connection of this transaction.
  const client: PostgresClient = await entities.queryRunner?.connect()
  await stores.within(client).outbox.add([new OrderPlaced({ aggregateId: id, total: 3 })])
})

const { count } = await dataSource.getRepository(Stock).findOneByOrFail({ item: id })
await using manager = new SubscriptionManager({ eventStore: stores.outbox })
stores.outbox.registerEvents([OrderPlaced])
const publish = async (events: readonly object[]) => {
  for (const event of events)
    if (event instanceof OrderPlaced) console.log(`Order of ${event.total}, stock ${count}`)
}
manager.relay({ publish }, { name: 'print' })
manager.start()
await manager.whenCaughtUp('print')
await dataSource.destroy()
