// Started by postgres-latency.ts in a separate process: receives events, and reports how old they were.
import { handlerFor, SubscriptionManager } from 'eventspine'
import { PostgresStores } from 'eventspine/postgres'
import { Client } from 'pg'
import { median } from '../statistics.ts'
import { type LatencyQuestion, type LatencyReport, now } from './postgres-latency.ts'
import { OrderShipped } from './store-bench.ts'

// Written by postgres-latency.ts.
const question = JSON.parse(process.argv[2] ?? '') as LatencyQuestion
const ages: number[] = []
const all = Promise.withResolvers<void>()

function note(n: number): void {
  ages.push((now() - n) / 1e6)
  if (ages.length >= question.count) all.resolve()
}

const close = question.side === 'ours' ? await handle(question) : await listen(question)
process.send?.('ready')
await all.promise
process.send?.({ p50: median(ages) } satisfies LatencyReport)
await close()
process.disconnect()

async function handle({ postgresUrl, schema }: LatencyQuestion): Promise<() => Promise<unknown>> {
  const stores = new PostgresStores({ postgresUrl, schema, events: [OrderShipped], migrate: 'off' })
  const manager = new SubscriptionManager({ eventStore: stores.events, checkpoints: stores.checkpoints })
  manager.subscribe({ name: 'reader', handlers: [handlerFor(OrderShipped, ({ n }) => note(n))] })
  manager.start()
  await manager.whenCaughtUp('reader')
  return async () => {
    await manager.stop()
    await stores.close()
  }
}

async function listen({ postgresUrl, schema }: LatencyQuestion): Promise<() => Promise<unknown>> {
  const client = new Client({ connectionString: postgresUrl })
  await client.connect()
  let position = 0
  let reading: Promise<void> | undefined
  let isCalled = false
  const read = async (): Promise<void> => {
    while (isCalled) {
      isCalled = false
      const { rows } = await client.query({
        name: 'next',
        text: `select position, payload from ${schema}.events where position > $1 order by position limit 500`,
        values: [position],
      })
      for (const { position: at, payload } of rows) {
        position = Number(at)
        note(payload.n)
      }
      if (rows.length > 0) isCalled = true
      // This reader misses events that are committed after one at a later position, so it may never have them all.
      if (position >= question.count) all.resolve()
    }
    reading = undefined
  }
  client.on('notification', () => {
    isCalled = true
    reading ??= read()
  })
  await client.query(`listen "${schema}"`)
  return async () => {
    await reading
    await client.end()
  }
}
