// Appends at random until it has written so many events, or is killed. Each line of stdout is a fact about event ids.
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import {
  defineEvent,
  StoreOutcomeUnknownError,
  StoreUnavailableError,
  type StreamStore,
} from '../../../src/index.ts'
import { PostgresStores } from '../../../src/postgres/index.ts'
import type { Fact } from './judge.ts'

class Counted extends defineEvent<{ readonly n: number }>()({ type: 'Counted', aggregateType: 'Counter' }) {}
class Rare extends defineEvent<{ readonly n: number }>()({ type: 'Rare', aggregateType: 'Counter' }) {}

const [postgresUrl = '', schema = '', name = '', count = '0'] = process.argv.slice(2)
const stores = new PostgresStores({ postgresUrl, schema, migrate: 'off', poolSize: 3, logger: silent() })

const note = (fact: Fact) => process.stdout.write(`${JSON.stringify(fact)}\n`)

const below = (limit: number) => Math.floor(Math.random() * limit)

function someEvents(aggregateId: string): readonly (Counted | Rare)[] {
  return Array.from({ length: 1 + below(3) }, () =>
    below(50) === 0 ? new Rare({ aggregateId, n: 0 }) : new Counted({ aggregateId, n: 1 }),
  )
}

const append = (events: StreamStore, aggregateId: string, some: readonly (Counted | Rare)[]) =>
  events.appendEvents({ aggregateId, aggregateType: 'Counter', events: some, expectedVersion: 'any' })

/** One append, repeated until it is known to be stored. */
async function single(): Promise<number> {
  const aggregateId = below(3) === 0 ? `shared-${below(5)}` : `${name}-${below(20)}`
  const some = someEvents(aggregateId)
  const ids = some.map(({ eventId }) => eventId)
  for (;;) {
    try {
      await append(stores.events, aggregateId, some)
      note({ kind: 'stored', ids })
      return ids.length
    } catch (error) {
      if (!(error instanceof StoreUnavailableError || error instanceof StoreOutcomeUnknownError)) throw error
      await delay(50)
    }
  }
}

/** Appends of one event each in a transaction that is held open; some are rolled back. */
async function held(): Promise<number> {
  const some = Array.from({ length: 1 + below(3) }, () =>
    someEvents(`${name}-held-${randomUUID().slice(0, 1)}`),
  ).flat()
  const ids = some.map(({ eventId }) => eventId)
  const isUndone = below(10) === 0
  try {
    await stores.transaction(async (tx) => {
      for (const event of some) {
        await append(tx.events, event.aggregateId, [event])
        await delay(below(15))
      }
      if (isUndone) throw new Undone()
    })
    note({ kind: 'stored', ids })
    return ids.length
  } catch (error) {
    if (error instanceof Undone || error instanceof StoreUnavailableError) note({ kind: 'notStored', ids })
    else if (error instanceof StoreOutcomeUnknownError || isDeadlock(error)) note({ kind: 'unknown', ids })
    else throw error
    await delay(50)
    return 0
  }
}

class Undone extends Error {}

/** Two transactions that append to the same streams in another order: the caller's business. */
const isDeadlock = (error: unknown) => error instanceof Error && 'code' in error && error.code === '40P01'

function silent() {
  const nothing = () => undefined
  return { debug: nothing, info: nothing, warn: nothing, error: nothing }
}

let written = 0
const loops = Array.from({ length: 3 }, async (_, index) => {
  while (written < Number(count)) {
    const more = index === 0 ? await single() : await held()
    written += more
  }
})
await Promise.all(loops)
await stores.close()
