// Saves an aggregate in a transaction that the application has opened itself, with Kysely:
// `npm run --silent build && node examples/postgres-kysely.ts postgres://localhost/shop`.
import { AggregateRepository, AggregateRoot, defineEvent, evolution } from 'eventspine'
import { PostgresStores } from 'eventspine/postgres'
import { Kysely, PostgresDialect } from 'kysely'
import { Pool, type PoolClient } from 'pg'

class OrderPlaced extends defineEvent<{ readonly total: number }>()({
  type: 'OrderPlaced',
  aggregateType: 'Order',
}) {}

class Order extends AggregateRoot<{ readonly total: number }> {
  protected readonly initialState = { total: 0 }
  protected readonly evolve = evolution<{ readonly total: number }>().on(OrderPlaced, (_, { total }) => ({
    total,
  }))

  place(total: number): void {
    this.raise(OrderPlaced, { total })
  }
}

interface Tables {
  readonly example_stock: { readonly item: string; readonly count: number }
}

/** Kysely on one connection: what it runs is part of that connection's transaction. */
function kyselyOn(client: PoolClient): Kysely<Tables> {
  const lent = { query: client.query.bind(client), release: () => {} }
  const pool = { connect: async () => lent, end: async () => {} }
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
}

const pool = new Pool({ connectionString: process.argv[2] ?? 'postgres://localhost/postgres' })
const stores = new PostgresStores({ pool, schema: 'example_kysely' })
await stores.ready()
const orders = new AggregateRepository({
  eventStore: stores.events,
  aggregateFactory: Order,
  aggregateType: 'Order',
})
await pool.query('create table if not exists example_stock (item text, count int not null)')

const id = `order-${Date.now()}`
const client = await pool.connect()
try {
  await client.query('begin')
  const order = orders.createNew(id)
  order.place(3)
  await kyselyOn(client).insertInto('example_stock').values({ item: id, count: -3 }).execute()
  await orders.within(stores.within(client)).save(order)
  await client.query('commit')
} catch (error) {
  await client.query('rollback')
  throw error
} finally {
  client.release()
}

const { state } = await orders.load(id)
const { rows } = await pool.query('select count from example_stock where item = $1', [id])
console.log(`Order of ${state.total}, stock ${rows[0].count}`)
await stores.close()
await pool.end()
