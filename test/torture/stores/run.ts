import { mkdtemp, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import { GenericEvent, type Stores } from '../../../src/index.ts'
import { waitFor } from '../../../src/testing/index.ts'
import { Random } from '../../../src/verify/random.ts'
import type { Broker } from '../../brokers/broker.ts'
import { dataFolder } from '../../brokers/data-folder.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'
import { paced } from '../../support/pace.ts'
import { type StoresPlace, storesOf } from '../../support/stores-of.ts'
import { CANARY } from '../secret-watch.ts'
import type { StoreBreakage } from './breakage.ts'
import { readFacts, StoreHistory } from './facts.ts'
import { judgeStores, type StoreRules, type TableEvent } from './judge.ts'
import { type Role, StoreActor } from './stage.ts'

type StoreKind = 'postgres' | 'sqlite'

export interface StoreTortureOptions {
  readonly kind: StoreKind
  readonly seconds: number
  readonly seed: number
  readonly breakage?: StoreBreakage
  /** The faults, in repeatedly shuffled order. Default: all of the kind. */
  readonly faults?: readonly StoreFault[]
  readonly onProgress?: (line: string) => void
}

export interface StoreTortureResult {
  /** Every sentence is a broken promise. */
  readonly violations: readonly string[]
  readonly faults: readonly string[]
  readonly stored: number
  readonly handled: number
}

export type StoreFault =
  | 'writerKilled'
  | 'subscriberKilled'
  | 'subscriberFrozen'
  | 'subscriberReplaced'
  | 'serverKilled'
  | 'serverRestarted'
  | 'serverFrozen'
  | 'connectionsCut'
  | 'fileLocked'

const COMMON = ['writerKilled', 'subscriberKilled', 'subscriberFrozen', 'subscriberReplaced'] as const
const FAULTS: Readonly<Record<StoreKind, readonly StoreFault[]>> = {
  postgres: [...COMMON, 'serverKilled', 'serverRestarted', 'serverFrozen', 'connectionsCut'],
  sqlite: [...COMMON, 'fileLocked'],
}

const LEASE_TTL_MS = 1500
const SCHEMA = 'torture'
const RULES: StoreRules = {
  handlers: { ordered: ['steady', 'flaky'], lanes: ['steady', 'flaky'], relay: ['steady'] },
  maxRetries: 2,
  // Events in flight, and events that were finished since the last checkpoint.
  repeatedPerFault: 200,
}

/** Ends the feed at the last committed event, even if an event before it may still be committed. */
const NAIVE = `
create or replace function ${SCHEMA}.feed_end()
returns table (head bigint, head_event_id text, is_held boolean, is_replica boolean) language sql as $$
  select coalesce(max(position), 0), null::text, false, false from ${SCHEMA}.events
$$`

/** Writers append, subscriptions and a relay follow, all in processes of their own; then the judge. */
export async function tortureStores(options: StoreTortureOptions): Promise<StoreTortureResult> {
  const folder = await mkdtemp(join(dataFolder, 'eventspine-torture-'))
  const server = options.kind === 'postgres' ? await launchBroker('postgres') : undefined
  const place: StoresPlace =
    server === undefined
      ? { file: join(folder, 'events.db') }
      : { postgresUrl: server.url.replace('postgres@', `postgres:${CANARY}@`), schema: SCHEMA }
  const run = new StoreTorture(options, folder, place, server)
  try {
    return await run.play()
  } finally {
    await run.end()
    await server?.dispose()
    await rm(folder, { recursive: true, force: true })
  }
}

class StoreTorture {
  readonly #options: StoreTortureOptions
  readonly #folder: string
  readonly #place: StoresPlace
  readonly #server: Broker<'postgres'> | undefined
  readonly #random: Random
  readonly #history: StoreHistory
  readonly #stores: Stores
  readonly #faults: string[] = []
  #actors: readonly StoreActor[] = []
  #names = 0

  constructor(
    options: StoreTortureOptions,
    folder: string,
    place: StoresPlace,
    server: Broker<'postgres'> | undefined,
  ) {
    this.#options = options
    this.#folder = folder
    this.#place = place
    this.#server = server
    this.#random = new Random(options.seed)
    this.#history = new StoreHistory(folder, 'run')
    this.#stores = storesOf(place)
  }

  async play(): Promise<StoreTortureResult> {
    await this.#stores.ready()
    if (this.#options.breakage === 'naiveFeed') await this.#makeNaive()
    for (const role of ['subscriber', 'subscriber', 'writer', 'writer', 'writer'] as const)
      await this.#start(role)
    await this.#torment()
    for (const writer of this.#of('writer')) await this.#stop(writer)
    await this.#settle()
    for (const subscriber of this.#of('subscriber')) await this.#stop(subscriber)
    for (const { subscription, event } of await this.#stores.deadLetters.list({ limit: 1_000_000 }))
      this.#history.record({ kind: 'parked', subscription, id: event.eventId })
    const [facts, table] = [readFacts(this.#folder), await this.#table()]
    return {
      violations: judgeStores(facts, table, RULES),
      faults: this.#faults,
      stored: table.length,
      handled: facts.filter(({ kind }) => kind === 'handled').length,
    }
  }

  async end(): Promise<void> {
    for (const actor of this.#actors) await actor.kill()
    await this.#stores.close()
    this.#history.close()
  }

  async #torment(): Promise<void> {
    const known = this.#options.faults ?? FAULTS[this.#options.kind]
    await this.#whenMoving()
    const end = performance.now() + this.#options.seconds * 1000
    while (performance.now() < end) {
      for (const name of this.#random.shuffled(known)) {
        this.#say(name)
        this.#faults.push(name)
        this.#history.record({ kind: 'fault', name })
        await this.#inflict(name)
        await delay(this.#random.integer(300, 1200))
        if (performance.now() >= end) break
      }
      if (known.length === 0) await delay(500)
    }
  }

  async #inflict(name: StoreFault): Promise<void> {
    switch (name) {
      case 'writerKilled':
        return this.#replaceKilled(this.#pick('writer'))
      case 'subscriberKilled':
        return this.#replaceKilled(await this.#busiest())
      case 'subscriberReplaced': {
        const actor = this.#pick('subscriber')
        await this.#start('subscriber')
        return this.#stop(actor)
      }
      case 'subscriberFrozen': {
        const actor = this.#pick('subscriber')
        actor.signal('SIGSTOP')
        await delay(2 * LEASE_TTL_MS)
        return actor.signal('SIGCONT')
      }
      case 'connectionsCut':
        for (const { proxy } of this.#actors) proxy?.cut()
        return
      case 'fileLocked':
        return this.#lockFile()
      default:
        return this.#hitServer(name)
    }
  }

  async #hitServer(name: 'serverKilled' | 'serverRestarted' | 'serverFrozen'): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    if (name === 'serverRestarted') return server.restart()
    if (name === 'serverFrozen') {
      await server.freeze()
      await delay(this.#random.integer(500, 2500))
      return server.thaw()
    }
    await server.kill()
    await delay(this.#random.integer(0, 1000))
    await server.start()
  }

  async #lockFile(): Promise<void> {
    if (!('file' in this.#place)) return
    const other = new DatabaseSync(this.#place.file, { timeout: 10_000 })
    other.exec('begin immediate')
    await delay(this.#random.integer(200, 1500))
    other.exec('rollback')
    other.close()
  }

  async #replaceKilled(actor: StoreActor): Promise<void> {
    await actor.kill()
    this.#actors = this.#actors.filter((other) => other !== actor)
    await this.#start(actor.role)
  }

  /** The subscriber that handled the latest event. Another one may only be waiting for leases. */
  async #busiest(): Promise<StoreActor> {
    const lastFact = async ({ name }: StoreActor) =>
      (await stat(join(this.#folder, `${name}.jsonl`)).catch(() => undefined))?.mtimeMs ?? 0
    const times = await Promise.all(this.#of('subscriber').map(lastFact))
    return this.#of('subscriber')[times.indexOf(Math.max(...times))] ?? this.#pick('subscriber')
  }

  async #start(role: Role): Promise<void> {
    this.#names += 1
    const { breakage } = this.#options
    const actor = await StoreActor.start({
      ...{ name: `${role}-${this.#names}`, role, folder: this.#folder, place: this.#place, breakage },
      ...{ seed: this.#random.integer(1, 1e9), leaseTtlMs: LEASE_TTL_MS, maxRetries: RULES.maxRetries },
    })
    this.#actors = [...this.#actors, actor]
  }

  async #stop(actor: StoreActor): Promise<void> {
    await actor.stop(this.#history)
    this.#actors = this.#actors.filter((other) => other !== actor)
  }

  #of(role: Role): readonly StoreActor[] {
    return this.#actors.filter((actor) => actor.role === role)
  }

  #pick(role: Role): StoreActor {
    const [first, ...others] = this.#of(role)
    if (first === undefined) throw new Error(`no ${role} is left`)
    return this.#random.pick([first, ...others])
  }

  async #whenMoving(): Promise<void> {
    const isMoving = () => readFacts(this.#folder).filter(({ kind }) => kind === 'handled').length > 100
    await waitFor(isMoving, {
      timeoutMs: paced(30_000),
      intervalMs: 100,
      describe: () => '100 handled events',
    })
  }

  /** Waits until every subscription has saved that it has reached the end. */
  async #settle(): Promise<void> {
    for (const subscription of Object.keys(RULES.handlers)) {
      const isDone = async () => {
        const head = await this.#stores.events.headPosition()
        return ((await this.#stores.checkpoints.load(subscription))?.position ?? 0) >= head
      }
      await waitFor(() => isDone().catch(() => false), { timeoutMs: paced(20_000), intervalMs: 100 }).catch(
        () => this.#history.record({ kind: 'unsettled', subscription }),
      )
    }
  }

  async #table(): Promise<readonly TableEvent[]> {
    const table: TableEvent[] = []
    for await (const { event } of this.#stores.events.readAll()) {
      const failures = event instanceof GenericEvent ? Number(Reflect.get(event.data, 'failures')) : 0
      const { eventId: id, aggregateId: stream, aggregateVersion: version } = event
      table.push({ id, stream, version, failures })
    }
    return table
  }

  async #makeNaive(): Promise<void> {
    if ('file' in this.#place) throw new Error('a SQLite file has no feed_end')
    const client = new Client({ connectionString: this.#place.postgresUrl })
    await client.connect()
    await client.query(NAIVE)
    await client.end()
  }

  #say(line: string): void {
    this.#options.onProgress?.(line)
  }
}
