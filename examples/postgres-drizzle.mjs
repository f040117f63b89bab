// Saves an aggregate and a row of the application in one transaction, with Drizzle:
// `npm run --silent build && node examples/postgres-drizzle.mjs postgres://localhost/shop`.
import { drizzle } from 'drizzle-orm/node-postgres'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { AggregateRepository, AggregateRoot, defineEvent, evolution } from 'eventspine'
import { PostgresStores } from 'eventspine/postgres'
import { Pool } from 'pg'

class OrderPlaced extends defineEvent()({
  type: 'OrderPlaced',
  aggregateType: 'Order',
}) {}

class Order extends AggregateRoot {
  initialState = { total: 0 }
  evolve = evolution().on(OrderPlaced, (_, { total }) => ({
    total,
  }))

  place(total) {
    this.raise(OrderPlaced, { total })
  }
}

const balances = pgTable('example_balances', { customer: text().primaryKey(), amount: integer().notNull() })

const pool = new Pool({ connectionString: process.argv[2] ?? 'postgres://localhost/postgres' })
const stores = new PostgresStores({ pool, schema: 'example_drizzle' })
const orders = new AggregateRepository({
  eventStore: stores.events,
  aggregateFactory: Order,
  aggregateType: 'Order',
})
await pool.query(
  'create table if not exists example_balances (customer text primary key, amount int not null)',
)

const id = `order-${Date.now()}`
await stores.transaction(async (tx) => {
  const order = orders.createNew(id)
  order.place(40)
  await orders.within(tx).save(order)
  // The same connection, so the same transaction.
  const db = drizzle({ client: tx.client })
  await db.insert(balances).values({ customer: id, amount: -40 })
})

const { state } = await orders.load(id)
const { rows } = await pool.query('select amount from example_balances where customer = $1', [id])
console.log(`Order of ${state.total}, balance ${rows[0].amount}`)
await stores.close()
await pool.end()
