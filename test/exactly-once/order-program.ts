// Places orders, relays them from the outbox to a handler of the inbox, and kills itself at random points:
// node order-program.ts sqlite|postgres <file or URL> <schema> <orders> <seed> <kill one in> [two-transactions]
import {
  type HandlerContext,
  type Stores,
  type StoreTransaction,
  SubscriptionManager,
} from '../../src/index.ts'
import { type PostgresClient, PostgresStores } from '../../src/postgres/index.ts'
import { type SqliteConnection, SqliteStores } from '../../src/sqlite/index.ts'
import { Noted } from '../../src/testing/conformance/events.ts'
import { Random } from '../torture/random.ts'

const [kind, address = '', schema = '', orders = '0', seed = '0', oneIn = '0', fault] = process.argv.slice(2)
const random = new Random(Number(seed))
const isSqlite = kind === 'sqlite'
const prefix = isSqlite ? '' : `${schema}.`
const stores: Stores = isSqlite
  ? new SqliteStores({ file: address, durability: 'normal' })
  : new PostgresStores({ postgresUrl: address, schema, migrate: 'run' })

function perhapsDie(): void {
  if (Number(oneIn) > 0 && random.oneIn(Number(oneIn))) process.kill(process.pid, 'SIGKILL')
}

async function sql({ client }: StoreTransaction, text: string): Promise<void> {
  // The client of the stores that were opened above.
  if (isSqlite) (client as SqliteConnection).exec(text)
  else await (client as PostgresClient).query({ text })
}

/** Every tenth order is never committed. */
async function place(n: number): Promise<void> {
  await stores
    .transaction(async (tx) => {
      if (!(await tx.inbox.add('placed', String(n)))) return
      await sql(tx, `insert into ${prefix}orders values (${n})`)
      await tx.outbox.add([new Noted({ aggregateId: `customer-${n % 7}`, n })])
      perhapsDie()
      if (n % 10 === 9) throw new Error('canceled')
    })
    .catch((error: unknown) => {
      if (n % 10 !== 9) throw error
    })
  perhapsDie()
}

const effect = (tx: StoreTransaction, n: number) => sql(tx, `insert into ${prefix}effects (n) values (${n})`)

const once = stores.inbox.once<Noted>('effect', async ({ n }, { tx }) => {
  perhapsDie()
  await effect(tx, n)
  perhapsDie()
})

/** The planted fault: note and effect in two transactions. */
async function twice({ eventId, n }: Noted): Promise<void> {
  if (await stores.inbox.has('effect', eventId)) return
  await stores.transaction((tx) => effect(tx, n))
  perhapsDie()
  await stores.transaction((tx) => tx.inbox.add('effect', eventId))
}

const context: HandlerContext = {
  ...{ signal: new AbortController().signal, attempt: 1, deliveryCount: 1 },
  ...{ consumerGroup: undefined, messageId: undefined },
}

await stores.ready()
stores.outbox.registerEvents([Noted])
await using manager = new SubscriptionManager({ eventStore: stores.outbox, leaseTtlMs: 500 })
manager.relay(
  {
    publish: async (events) => {
      for (const event of events) {
        if (!(event instanceof Noted)) throw new Error(`an event of type ${event.eventType}`)
        if (fault === undefined) await once.handle(event, context)
        else await twice(event)
        perhapsDie()
      }
    },
  },
  { name: 'relay', batchSize: 20, checkpointEveryEvents: 20 },
)
manager.start()
for (let n = 0; n < Number(orders); n += 1) await place(n)
await manager.whenCaughtUp('relay')
await manager.stop()
await stores.close()
