import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import { type DomainEvent, SubscriptionManager } from '../../../src/index.ts'
import { PostgresStores } from '../../../src/postgres/index.ts'
import { type Noted, noted } from '../../../src/testing/conformance/events.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'

export interface OutboxCheckOptions {
  readonly durationMs: number
  readonly eventsPerSecond: number
  /** Time between two measurements of the table. */
  readonly sampleMs: number
  /** Lines for `postgresql.conf`. */
  readonly config?: readonly string[]
  readonly onProgress?: (line: string) => void
}

/** The outbox at one time. */
interface OutboxSample {
  readonly atMs: number
  readonly published: number
  /** Size of the table and its indexes. */
  readonly mib: number
  readonly deadRows: number
  /** How often the server has vacuumed the table by itself. */
  readonly vacuums: number
}

export interface OutboxCheckResult {
  readonly faults: readonly string[]
  readonly samples: readonly OutboxSample[]
  readonly added: number
  readonly published: number
}

const SCHEMA = 'outbox_check'
const WRITERS = 4
const AGGREGATES_PER_WRITER = 25
const EVENTS = 10

/** Writers stop while the relay is this many events behind, so that the table shows dead rows and not a backlog. */
const MAX_BACKLOG = 5000

/** Every nth transaction is rolled back; every nth of another number stays open for a moment. */
const ROLLED_BACK = 10
const HELD = 17

/** An aggregate of the events that are rolled back. */
const UNDONE = 'undone'

/** Adds to an outbox and publishes from it for a time, and measures its table. */
export async function checkOutbox(options: OutboxCheckOptions): Promise<OutboxCheckResult> {
  await using server = await launchBroker('postgres', { config: options.config ?? [] })
  const check = new OutboxCheck(server.url)
  try {
    return await check.run(options)
  } finally {
    await check.close()
  }
}

class OutboxCheck {
  readonly #stores: PostgresStores
  readonly #client: Client
  readonly #samples: OutboxSample[] = []
  readonly #faults: string[] = []
  readonly #lastOf = new Map<string, number>()
  #added = 0
  #published = 0
  #isOver = false

  constructor(url: string) {
    const nothing = () => undefined
    const logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }
    this.#stores = new PostgresStores({ postgresUrl: url, schema: SCHEMA, migrate: 'run', logger })
    this.#client = new Client({ connectionString: url })
  }

  async run(options: OutboxCheckOptions): Promise<OutboxCheckResult> {
    const { durationMs, eventsPerSecond, sampleMs, onProgress } = options
    await this.#stores.ready()
    await this.#client.connect()
    await using manager = new SubscriptionManager({ eventStore: this.#stores.outbox })
    manager.relay({ publish: async (events) => this.#publish(events) }, { name: 'relay' })
    manager.start()
    const start = performance.now()
    const isAhead = () => this.#added > ((performance.now() - start) / 1000) * eventsPerSecond
    const writers = Array.from({ length: WRITERS }, (_, index) => this.#write(index, isAhead))
    for (let atMs = 0; atMs < durationMs; ) {
      await delay(sampleMs)
      atMs = performance.now() - start
      onProgress?.(lineOf(await this.#measure(atMs)))
    }
    this.#isOver = true
    await Promise.all(writers)
    await manager.whenCaughtUp('relay')
    this.#judge()
    return {
      ...{ faults: this.#faults, samples: this.#samples },
      ...{ added: this.#added, published: this.#published },
    }
  }

  async close(): Promise<void> {
    await this.#stores.close()
    await this.#client.end()
  }

  async #write(writer: number, isAhead: () => boolean): Promise<void> {
    const next = new Map<string, number>()
    for (let round = 1; !this.#isOver; round += 1) {
      if (isAhead() || this.#added - this.#published > MAX_BACKLOG) {
        await delay(5)
        continue
      }
      const aggregateId = `a${writer}-${round % AGGREGATES_PER_WRITER}`
      const first = next.get(aggregateId) ?? 1
      if (round % ROLLED_BACK === 0) await this.#rollBack()
      const events = Array.from({ length: EVENTS }, (_, index) => noted(aggregateId, first + index))
      await this.#stores.transaction(async (tx) => {
        await tx.outbox.add(events)
        if (round % HELD === 0) await delay(Math.random() * 50)
      })
      next.set(aggregateId, first + EVENTS)
      this.#added += EVENTS
    }
  }

  async #rollBack(): Promise<void> {
    const undone = new Error(UNDONE)
    try {
      await this.#stores.transaction(async (tx) => {
        await tx.outbox.add([noted(UNDONE)])
        throw undone
      })
    } catch (thrown) {
      if (thrown !== undone) throw thrown
    }
  }

  #publish(events: readonly DomainEvent[]): void {
    for (const event of events) {
      // Only these are added.
      const { aggregateId, n } = event as Noted
      const last = this.#lastOf.get(aggregateId) ?? 0
      if (aggregateId === UNDONE)
        this.#faults.push('an event of a transaction that was rolled back is published')
      else if (n > last + 1) this.#faults.push(`${n} of ${aggregateId} is published after ${last}`)
      if (n <= last) continue // published again
      this.#lastOf.set(aggregateId, n)
      this.#published += 1
    }
  }

  async #measure(atMs: number): Promise<OutboxSample> {
    const { rows } = await this.#client.query<Record<'bytes' | 'dead' | 'vacuums', string>>(
      `select pg_total_relation_size(relid) as bytes, n_dead_tup as dead, autovacuum_count as vacuums
       from pg_stat_user_tables where schemaname = $1 and relname = 'outbox'`,
      [SCHEMA],
    )
    const [row] = rows
    if (row === undefined) throw new Error('The outbox has no statistics')
    const sample = {
      ...{ atMs, published: this.#published, mib: Number(row.bytes) / 2 ** 20 },
      ...{ deadRows: Number(row.dead), vacuums: Number(row.vacuums) },
    }
    this.#samples.push(sample)
    return sample
  }

  #judge(): void {
    if (this.#published !== this.#added)
      this.#faults.push(`${this.#added} events were added, and ${this.#published} published`)
    const half = Math.floor(this.#samples.length / 2)
    const largest = (samples: readonly OutboxSample[]) => Math.max(...samples.map(({ mib }) => mib))
    const [early, late] = [largest(this.#samples.slice(0, half)), largest(this.#samples.slice(half))]
    // Between two vacuums the table grows with the load of these seconds, which is not always the same.
    if (late > early * 1.5)
      this.#faults.push(`the table grew from ${early.toFixed(1)} to ${late.toFixed(1)} MiB`)
  }
}

const lineOf = ({ published, mib, deadRows, vacuums }: OutboxSample): string =>
  `${published} published, ${mib.toFixed(1)} MiB, ${deadRows} dead rows, ${vacuums} vacuums`
