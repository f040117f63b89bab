// Writes a row and adds an event to the outbox in a transaction of Prisma, then relays the event:
// `npm run --silent build && node examples/postgres-prisma.ts postgres://localhost/shop`.
// The package does not contain Prisma's client: examples/prisma/schema.prisma names the command that generates it.
import { PrismaPg } from '@prisma/adapter-pg'
import { defineEvent, SubscriptionManager } from 'eventspine'
import { PostgresStores } from 'eventspine/postgres'
import { Pool, type PoolClient } from 'pg'
import { type Prisma, PrismaClient } from './prisma/generated/client.ts'

class OrderPlaced extends defineEvent<{ readonly total: number }>()({
  type: 'OrderPlaced',
  aggregateType: 'Order',
}) {}

const connectionString = process.argv[2] ?? 'postgres://localhost/postgres'
const pool = new Pool({ connectionString })
const connections = new Map<unknown, PoolClient>()
pool.on('connect', (client) => connections.set(Reflect.get(client, 'processID'), client))
pool.on('remove', (client) => connections.delete(Reflect.get(client, 'processID')))

/** The connection of a transaction, which Prisma does not show: the server knows its process id. */
async function connectionOf(tx: Prisma.TransactionClient): Promise<PoolClient> {
  const [row] = await tx.$queryRaw<{ pid: number }[]>`select pg_backend_pid() as pid`
  const client = connections.get(row?.pid)
  if (client === undefined) throw new Error('The transaction does not use a connection of this pool')
  return client
}

const prisma = new PrismaClient({ adapter: new PrismaPg(pool) })
await using stores = new PostgresStores({ pool, schema: 'example_prisma' })
await stores.ready()
await prisma.$executeRaw`create table if not exists example_prisma_stock (item text primary key, count int not null)`

const id = `order-${Date.now()}`
await prisma.$transaction(async (tx) => {
  await tx.stock.create({ data: { item: id, count: -3 } })
  await stores.within(await connectionOf(tx)).outbox.add([new OrderPlaced({ aggregateId: id, total: 3 })])
})

const { count } = await prisma.stock.findUniqueOrThrow({ where: { item: id } })
await using manager = new SubscriptionManager({ eventStore: stores.outbox })
stores.outbox.registerEvents([OrderPlaced])
const publish = async (events: readonly object[]) => {
  for (const event of events)
    if (event instanceof OrderPlaced) console.log(`Order of ${event.total}, stock ${count}`)
}
manager.relay({ publish }, { name: 'print' })
manager.start()
await manager.whenCaughtUp('print')
await prisma.$disconnect()
await manager.stop()
await stores.close()
await pool.end()
