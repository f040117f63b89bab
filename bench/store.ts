// npm run bench:store [-- --json]: compares catching up from the in-memory event store with a bare loop over its feed.
import { defineEvent, InMemoryCheckpointStore, InMemoryEventStore, SubscriptionManager } from 'eventspine'
import { sized } from './arguments.ts'
import { compare, rate, runSteps } from './harness.ts'
import { report } from './results.ts'

class Noted extends defineEvent<{ readonly n: number }>()({ type: 'Noted', aggregateType: 'Note' }) {}

const EVENTS = sized(200_000)
const eventStore = new InMemoryEventStore()
for (let start = 0; start < EVENTS; start += 1000) {
  const aggregateId = `note-${(start / 1000) % 100}`
  const events = Array.from({ length: 1000 }, (_, index) => new Noted({ aggregateId, n: start + index }))
  await eventStore.appendEvents({ aggregateId, aggregateType: 'Note', events, expectedVersion: 'any' })
}

/** Prevents the compiler from optimizing the work away. */
export let count = 0
const empty = () => {
  count += 1
}

type Options = Parameters<SubscriptionManager['subscribe']>[1]

/** Reads the feed from beginning to end with a new subscription. */
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

const step = (work: string, ours: () => Promise<number>) =>
  compare({ work: `catch-up, ${work}`, unit: 'events/s', ours, raw: bareLoop })
const steps = [
  step('empty sync handler', catchingUp(empty)),
  step(
    'empty async handler',
    catchingUp(async () => empty()),
  ),
  step(
    '16 aggregates concurrently',
    catchingUp(async () => empty(), { concurrency: 16 }),
  ),
  step('batches of 500', catchingUpInBatches),
  step('a checkpoint after every event', catchingUp(empty, { checkpointEveryEvents: 1 })),
]

report('store', await runSteps('store', steps))
