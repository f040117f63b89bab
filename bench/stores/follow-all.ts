// Started by postgres-large.ts in a separate process: follows a feed, and reports the memory that it took.
import { handlerFor, SubscriptionManager } from 'eventspine'
import { PostgresStores } from 'eventspine/postgres'
import { MemorySamples } from '../works/memory-samples.ts'
import type { FollowQuestion } from './postgres-large.ts'
import { OrderPlaced } from './store-bench.ts'

// Written by postgres-large.ts.
const { postgresUrl, schema, count } = JSON.parse(process.argv[2] ?? '') as FollowQuestion
const samples = new MemorySamples(count)
await using stores = new PostgresStores({ postgresUrl, schema, events: [OrderPlaced], migrate: 'off' })
await using manager = new SubscriptionManager({ eventStore: stores.events, checkpoints: stores.checkpoints })
manager.subscribe({ name: 'all', handlers: [handlerFor(OrderPlaced, samples.note)] })
manager.start()
await manager.whenCaughtUp('all')
console.log(JSON.stringify(samples.peaks))
