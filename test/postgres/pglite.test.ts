import { expect, it } from 'vitest'
import { AggregateRepository, SubscriptionManager } from '../../src/index.ts'
import { type PooledPostgresClient, type PostgresPool, PostgresStores } from '../../src/postgres/index.ts'
import { Order } from '../support/order-aggregate.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

/** The part of a `PGlite` that is used. Its own types need the types of a browser. */
interface EmbeddedPostgres {
  exec(text: string): Promise<{ rows: unknown[]; affectedRows?: number }[]>
  query(text: string, values: unknown[], options: object): Promise<{ rows: unknown[]; affectedRows?: number }>
  close(): Promise<void>
}

async function openPGlite(): Promise<EmbeddedPostgres> {
  const name: string = '@electric-sql/pglite'
  const { PGlite }: { PGlite: new () => EmbeddedPostgres } = await import(name)
  return new PGlite()
}

/** A pool of one connection over a PostgreSQL inside this process: who comes next gets it when it is given back. */
function poolOf(db: EmbeddedPostgres): PostgresPool {
  const queue: (() => void)[] = []
  let isFree = true
  const client: PooledPostgresClient = {
    async query({ text, values = [], rowMode, types }) {
      // Several statements in one text have no parameters.
      if (values.length === 0 && rowMode === undefined) {
        const last = (await db.exec(text)).at(-1)
        return { rows: last?.rows ?? [], rowCount: last?.affectedRows ?? null }
      }
      const parser = types?.getTypeParser()
      const parsers = parser && new Proxy({}, { get: () => parser, has: () => true })
      const { rows, affectedRows = null } = await db.query(text, values, {
        ...(rowMode && { rowMode }),
        ...(parsers && { parsers }),
      })
      return { rows, rowCount: affectedRows }
    },
    release() {
      const next = queue.shift()
      if (next === undefined) isFree = true
      else next()
    },
  }
  return {
    async connect() {
      if (isFree) isFree = false
      else await new Promise<void>((resolve) => queue.push(resolve))
      return client
    },
  }
}

// PGlite first compiles and initializes a whole server, which takes a minute on a loaded machine.
it('runs on PGlite, for tests without a server', { timeout: paced(240_000) }, async () => {
  const db = await openPGlite()
  const logger = new RecordingLogger()
  await using stores = new PostgresStores({ pool: poolOf(db), wakeUp: 'poll', migrate: 'run', logger })
  const orders = new AggregateRepository({
    eventStore: stores.events,
    aggregateFactory: Order,
    aggregateType: 'Order',
  })
  const seen: string[] = []
  await using manager = new SubscriptionManager({
    eventStore: stores.events,
    checkpoints: stores.checkpoints,
    leases: stores.leases,
    logger,
  })
  manager.subscribe({
    name: 's',
    handle: ({ aggregateId }) => void seen.push(aggregateId),
  })
  manager.start()
  for (const id of ['a', 'b']) {
    const order = orders.createNew(id)
    order.create('c')
    await orders.save(order)
  }
  await stores.transaction(async (tx) => {
    const order = await orders.within(tx).load('a')
    order.ship('TRACK')
    await orders.within(tx).save(order)
  })
  await manager.whenCaughtUp('s')

  expect(seen).toEqual(['a', 'b', 'a'])
  expect((await orders.load('a')).state.status).toBe('shipped')
  await db.close()
})
