import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Pool } from 'pg'
import { PostgresStores } from '../../../src/postgres/index.ts'
import { waitFor } from '../../../src/testing/index.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'
import { FACTS, type Fact, type Follower, judgeFeed, SEEN } from './judge.ts'
import { Records } from './records.ts'

export interface FeedCheckOptions {
  readonly writers: number
  /** How many events are written in all, about. */
  readonly events: number
  readonly writerKills: number
  readonly serverKills: number
  /** Readers read up to the last existing position, as they would with a sequence alone. */
  readonly isNaive: boolean
  readonly onProgress?: (line: string) => void
}

export interface FeedCheckResult {
  readonly faults: readonly string[]
  readonly stored: number
  /** Of the last event. Positions of transactions that failed are missing. */
  readonly lastPosition: number
  readonly unknown: number
  /** How often a follower began again from its last position. */
  readonly resumptions: number
  /** The heap of this process after a tenth of the events and at the end, in MiB: it does not grow with the events. */
  readonly heapMb: readonly [early: number, late: number]
}

const FOLLOWERS: readonly Follower[] = [
  { name: 'small pages', eventType: undefined, limit: 7 },
  { name: 'large pages', eventType: undefined, limit: 500 },
  { name: 'rare events', eventType: 'Rare', limit: 50 },
]

const SCHEMA = 'feed_check'

/** Each follower begins again after so many pages, and later now and then. */
const FIRST_RESUMPTION = 10

/** Ends the feed at the last committed event, even if an event before it may still be committed. */
const NAIVE = `
create or replace function ${SCHEMA}.feed_end()
returns table (head bigint, head_event_id text, is_held boolean, is_replica boolean) language sql as $$
  select coalesce(max(position), 0), null::text, false, false from ${SCHEMA}.events
$$`

/** Writers in processes of their own and followers in this one, over kills of both and of the server; then the judge. */
export async function checkFeed(options: FeedCheckOptions): Promise<FeedCheckResult> {
  await using server = await launchBroker('postgres')
  const { onProgress = () => undefined } = options
  using records = new Records()
  const run = new FeedCheck(options, server.url, records)
  await run.prepare()
  run.start()
  await run.untilStored(options.events / 10)
  const early = heapMb()
  let [writerKills, serverKills] = [0, 0]
  const total = options.writerKills + options.serverKills
  for (let kill = 1; kill <= total; kill += 1) {
    await run.untilStored(Math.floor((options.events * kill) / (total + 1)))
    if (kill % 2 === 0 ? serverKills < options.serverKills : writerKills >= options.writerKills) {
      serverKills += 1
      await server.kill()
      onProgress('server killed')
      await server.start()
      onProgress('server started')
    } else {
      writerKills += 1
      await run.killWriter()
      onProgress('writer killed')
    }
  }
  await run.finish()
  const late = heapMb()
  onProgress('all written and read; now the judge')
  return { ...(await run.judge()), unknown: run.unknown, resumptions: run.resumptions, heapMb: [early, late] }
}

/** The used heap, without garbage if the process may collect it. */
function heapMb(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 2 ** 20
}

class FeedCheck {
  resumptions = 0
  /** Appends and transactions with an unknown outcome. */
  unknown = 0
  readonly #options: FeedCheckOptions
  readonly #url: string
  readonly #records: Records
  /** With when they end. */
  readonly #writers = new Map<ChildProcess, Promise<unknown>>()
  #following: Promise<unknown> = Promise.resolve()
  #stored = 0
  #names = 0
  #isOver = false

  constructor(options: FeedCheckOptions, url: string, records: Records) {
    this.#options = options
    this.#url = url
    this.#records = records
  }

  async prepare(): Promise<void> {
    await using stores = this.#open()
    await stores.migrations.run()
    if (!this.#options.isNaive) return
    const pool = new Pool({ connectionString: this.#url })
    await pool.query(NAIVE)
    await pool.end()
  }

  start(): void {
    this.#following = Promise.all(FOLLOWERS.map((follower) => this.#follow(follower)))
    for (let index = 0; index < this.#options.writers; index += 1) this.#startWriter()
  }

  async untilStored(count: number): Promise<void> {
    await waitFor(() => this.#stored >= count, {
      timeoutMs: 600_000,
      describe: () => `${count} events, ${this.#stored} are stored`,
    })
  }

  /** Kills one in the middle of its work, and starts another. */
  async killWriter(): Promise<void> {
    const [entry] = this.#writers
    if (entry === undefined) return
    const [writer, closed] = entry
    this.#writers.delete(writer)
    writer.kill('SIGKILL')
    await closed
    this.#startWriter()
  }

  async finish(): Promise<void> {
    await Promise.all(this.#writers.values())
    this.#isOver = true
    await this.#following
  }

  async judge(): Promise<Pick<FeedCheckResult, 'faults' | 'stored' | 'lastPosition'>> {
    const pool = new Pool({ connectionString: this.#url })
    const client = await pool.connect()
    const { rows } = await client.query(`select count(*), max(position) from ${SCHEMA}.events`)
    const faults = await judgeFeed(client, SCHEMA, this.#records, FOLLOWERS)
    client.release()
    await pool.end()
    return { faults, stored: Number(rows[0].count), lastPosition: Number(rows[0].max) }
  }

  #open(): PostgresStores {
    const nothing = () => undefined
    const logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }
    return new PostgresStores({ postgresUrl: this.#url, schema: SCHEMA, migrate: 'off', poolSize: 2, logger })
  }

  #startWriter(): void {
    const { events, writers } = this.#options
    const program = fileURLToPath(new URL('writer.ts', import.meta.url))
    this.#names += 1
    const args = [program, this.#url, SCHEMA, `w${this.#names}`, String(Math.ceil(events / writers))]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#writers.set(child, once(child, 'close'))
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.#note(line)
    })
  }

  #note(line: string): void {
    // Written by the writer.
    const { kind, ids } = JSON.parse(line) as Fact
    for (const id of ids) this.#records.add(FACTS, kind, id)
    if (kind === 'stored') this.#stored += ids.length
    if (kind === 'unknown') this.unknown += 1
  }

  /** Reads on from its last position, now and then with a new object as after a restart, until all is over. */
  async #follow({ name, eventType, limit }: Follower): Promise<void> {
    let [ordinal, last, pages] = [0, 0, 0]
    let stores = this.#open()
    for (;;) {
      const wasOver = this.#isOver
      try {
        const { events, head } = await stores.events.readPage({
          fromPosition: last,
          limit,
          eventTypes: eventType === undefined ? undefined : [eventType],
        })
        for (const { event, position } of events) {
          // Only a recorded event is passed: what fails here is read again.
          this.#records.add(SEEN, name, ordinal + 1, position, event.eventId)
          ordinal += 1
          last = position
        }
        // A transaction whose client has ended holds the feed back until the server notices that.
        if (wasOver && events.length < limit && head >= (await stores.events.lastPosition())) break
        pages += 1
        if (pages === FIRST_RESUMPTION || Math.random() < 0.002) {
          await stores.close()
          stores = this.#open()
          this.resumptions += 1
        }
      } catch {
        await delay(20) // the server was killed: it comes back
      }
    }
    await stores.close()
  }
}
