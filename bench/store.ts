// npm run bench:store [-- --json]: catching up from the event store in memory, beside a bare loop over its feed.
import { defineEvent, InMemoryCheckpointStore, InMemoryEventStore, SubscriptionManager } from 'eventspine'
import { type BenchWork, measure, rate, report } from './harness.ts'

class Noted extends defineEvent<{ readonly n: number }>()({ type: 'Noted', aggregateType: 'Note' }) {}

const EVENTS = 200_000
const eventStore = new InMemoryEventStore()
for (let start = 0; start < EVENTS; start += 1000) {
  const aggregateId = `note-${(start / 1000) % 100}`
  const events = Array.from({ length: 1000 }, (_, index) => new Noted({ aggregateId, n: start + index }))
  await eventStore.appendEvents({ aggregateId, aggregateType: 'Note', events, expectedVersion: 'any' })
}

/** Keeps the work from being optimized away. */
export let count = 0
const empty = () => {
  count += 1
}

type Options = Parameters<SubscriptionManager['subscribe']>[1]

/** From the beginning to the end of the feed, with a new subscription. */
function catchingUp(handle: () => unknown, options?: Options) {
  return () =>
    rate(EVENTS, async () => {
      await using manager = new SubscriptionManager({
        eventStore,
        checkpoints: new InMemoryCheckpointStore(),
      })
      manager.subscribe({ name: 'bench', handle }, options)
      manager.start()
      await manager.whenCaughtUp('bench')
    })
}

function catchingUpInBatches() {
  return rate(EVENTS, async () => {
    await using manager = new SubscriptionManager({ eventStore, checkpoints: new InMemoryCheckpointStore() })
    const handleBatch = (events: readonly unknown[]) => {
      count += events.length
    }
    manager.subscribe({ name: 'bench', handleBatch })
    manager.start()
    await manager.whenCaughtUp('bench')
  })
}

const bareLoop = () =>
  rate(EVENTS, async () => {
    for await (const _ of eventStore.readAll()) empty()
  })

const works: readonly BenchWork[] = [
  { work: 'catch-up, empty sync handler', unit: 'events/s', ours: catchingUp(empty), raw: bareLoop },
  {
    work: 'catch-up, empty async handler',
    unit: 'events/s',
    ours: catchingUp(async () => empty()),
    raw: bareLoop,
  },
  {
    work: 'catch-up, 16 aggregates at a time',
    unit: 'events/s',
    ours: catchingUp(async () => empty(), { concurrency: 16 }),
    raw: bareLoop,
  },
  { work: 'catch-up, batches of 500', unit: 'events/s', ours: catchingUpInBatches, raw: bareLoop },
  {
    work: 'catch-up, a checkpoint after every event',
    unit: 'events/s',
    ours: catchingUp(empty, { checkpointEveryEvents: 1 }),
    raw: bareLoop,
  },
]

report(await measure(works, { bus: 'store' }))
