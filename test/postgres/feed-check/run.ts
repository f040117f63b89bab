import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { PostgresStores } from '../../../src/postgres/index.ts'
import { waitFor } from '../../../src/testing/index.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'
import { type Fact, type FeedHistory, type FollowerHistory, judgeFeed, type SeenEvent } from './judge.ts'

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
  readonly unknown: number
  /** How often a follower began again from its last position. */
  readonly resumptions: number
}

const SCHEMA = 'feed_check'

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
  const run = new FeedCheck(options, server.url)
  await run.prepare()
  run.start()
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
  const history = await run.finish()
  return {
    faults: judgeFeed(history),
    stored: history.stored.length,
    unknown: history.facts.filter(({ kind }) => kind === 'unknown').length,
    resumptions: run.resumptions,
  }
}

class FeedCheck {
  resumptions = 0
  readonly #options: FeedCheckOptions
  readonly #url: string
  readonly #facts: Fact[] = []
  /** With when they end. */
  readonly #writers = new Map<ChildProcess, Promise<unknown>>()
  readonly #followers: Promise<FollowerHistory>[] = []
  #stored = 0
  #names = 0
  #isOver = false

  constructor(options: FeedCheckOptions, url: string) {
    this.#options = options
    this.#url = url
  }

  async prepare(): Promise<void> {
    await using stores = this.#open()
    await stores.migrations.run()
    if (!this.#options.isNaive) return
    const client = new Client({ connectionString: this.#url })
    await client.connect()
    await client.query(NAIVE)
    await client.end()
  }

  start(): void {
    this.#followers.push(this.#follow('small pages', undefined, 7))
    this.#followers.push(this.#follow('large pages', undefined, 500))
    this.#followers.push(this.#follow('rare events', 'Rare', 50))
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

  async finish(): Promise<FeedHistory> {
    await Promise.all(this.#writers.values())
    this.#isOver = true
    const followers = await Promise.all(this.#followers)
    return { facts: this.#facts, followers, stored: await this.#table() }
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
    const fact = JSON.parse(line) as Fact
    this.#facts.push(fact)
    if (fact.kind === 'stored') this.#stored += fact.ids.length
  }

  /** Reads on from its last position, now and then with a new object as after a restart, until all is over. */
  async #follow(name: string, eventType: string | undefined, limit: number): Promise<FollowerHistory> {
    const seen: SeenEvent[] = []
    let stores = this.#open()
    for (;;) {
      const wasOver = this.#isOver
      try {
        const { events, head } = await stores.events.readPage({
          fromPosition: seen.at(-1)?.position ?? 0,
          limit,
          eventTypes: eventType === undefined ? undefined : [eventType],
        })
        for (const { event, position } of events) {
          const { eventId, aggregateId, aggregateVersion: version } = event
          seen.push({ position, eventId, eventType: event.eventType, stream: aggregateId, version })
        }
        if (wasOver && events.length < limit && head === (await stores.events.headPosition())) break
        if (Math.random() < 0.002) {
          await stores.close()
          stores = this.#open()
          this.resumptions += 1
        }
      } catch {
        await delay(20) // the server was killed: it comes back
      }
    }
    await stores.close()
    return { name, eventType, seen }
  }

  async #table(): Promise<readonly SeenEvent[]> {
    const client = new Client({ connectionString: this.#url })
    await client.connect()
    const { rows } = await client.query(
      `select position, event_id, event_type, aggregate_id, aggregate_version from ${SCHEMA}.events order by position`,
    )
    await client.end()
    return rows.map((row) => ({
      position: Number(row.position),
      eventId: row.event_id,
      eventType: row.event_type,
      stream: row.aggregate_id,
      version: row.aggregate_version,
    }))
  }
}
