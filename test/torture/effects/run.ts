import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { waitFor } from '../../../src/testing/index.ts'
import { Random } from '../../../src/verify/random.ts'
import type { BrokerKind } from '../../brokers/broker.ts'
import { dataFolder } from '../../brokers/data-folder.ts'
import { paced } from '../../support/pace.ts'
import { type StoresPlace, storesOf } from '../../support/stores-of.ts'
import { ALONE, createTortureBus, type TortureBusOptions } from '../torture-bus.ts'
import { CUSTOMERS, type EffectTables, judgeEffects, ROLES, type Role, tableName } from './judge.ts'
import type { EffectFault, ProgramOptions } from './program.ts'

const PROGRAM = fileURLToPath(new URL('program.ts', import.meta.url))

/** Maximum duration of the shutdown of a process, in milliseconds. */
const END_MS = 20_000

/** Maximum time between two kills of any process, in milliseconds. */
const KILL_MS = 60_000

/** A process reaches the phase of its end at most this many times, so that it does so within its longest life. */
const LONGEST_LIFE: Readonly<Record<Role, number>> = {
  producer: Number.POSITIVE_INFINITY,
  relay: 4,
  consumer: 20,
  projector: 20,
}

export interface EffectTortureOptions {
  readonly bus: BrokerKind
  /** Where the torture user can connect. */
  readonly port: number
  /** URL of a PostgreSQL server. Default: a SQLite file. */
  readonly postgresUrl?: string
  readonly orders: number
  /** Number of times that each process kills itself. */
  readonly kills: number
  readonly seed: number
  readonly fault?: EffectFault
  /** The processes that are killed. Default all. */
  readonly killed?: readonly Role[]
  /**
   * Maximum life of a process that has nothing to do and therefore does not reach the phase of its end, in milliseconds.
   * Default 1,500.
   */
  readonly longestLifeMs?: number
  /** Maximum time that the processes have to handle the last orders, in milliseconds. */
  readonly settleMs?: number
  readonly onProgress?: (line: string) => void
}

export interface EffectTortureResult {
  /** Every sentence is a broken promise. */
  readonly violations: readonly string[]
  readonly kills: Readonly<Record<Role, number>>
  /** How often each role was killed in each phase. */
  readonly phases: Readonly<Record<Role, Readonly<Record<string, number>>>>
  /** Rows of the outbox at the end. */
  readonly unpublished: number
}

/** Places orders whose effects go through outbox, relay, bus and inbox, and through a projection, while each process is killed. */
export async function tortureEffects(options: EffectTortureOptions): Promise<EffectTortureResult> {
  const folder = await mkdtemp(join(dataFolder, 'eventspine-effects-'))
  const scope = `effects${process.pid}_${options.seed}_${Date.now() % 100_000}`
  const { postgresUrl } = options
  const place: StoresPlace =
    postgresUrl === undefined ? { file: join(folder, 'orders.db') } : { postgresUrl, schema: scope }
  const run = new EffectTorture(options, place, scope, join(folder, 'compiled'))
  try {
    return await run.play()
  } finally {
    await run.end()
    await rm(folder, { recursive: true, force: true })
  }
}

class EffectTorture {
  readonly #options: EffectTortureOptions
  readonly #place: StoresPlace
  readonly #bus: Omit<TortureBusOptions, 'consumerName'>
  /** One per role, so that the ends of its lives do not depend on the timing of the others. */
  readonly #randoms: Readonly<Record<Role, Random>>
  /** Compiled sources, so that a process starts faster than it is killed. */
  readonly #compiled: string
  readonly #kills = { producer: 0, relay: 0, consumer: 0, projector: 0 }
  readonly #phases: Record<Role, Record<string, number>> = {
    producer: {},
    relay: {},
    consumer: {},
    projector: {},
  }
  readonly #children = new Map<Role, ChildProcess>()
  readonly #failures: string[] = []
  #isEnding = false

  constructor(options: EffectTortureOptions, place: StoresPlace, scope: string, compiled: string) {
    const { bus: kind, port } = options
    this.#options = options
    this.#place = place
    // Each kill is an attempt of the events in flight, so an event may have as many attempts as there are kills.
    this.#bus = { kind, port, scope, consumerGroup: ALONE, maxRetries: 1000, handlerTimeoutMs: 30_000 }
    const random = (index: number) => new Random(4 * options.seed + index)
    this.#randoms = { producer: random(0), relay: random(1), consumer: random(2), projector: random(3) }
    this.#compiled = compiled
  }

  async play(): Promise<EffectTortureResult> {
    await this.#createTables()
    // A process that ends by itself writes the compiled sources.
    await once(this.#spawn({ role: 'producer', orders: [0, 0], killWithin: 0 }), 'close')
    await this.#createGroup()
    const { orders } = this.#options
    const others = (['relay', 'consumer', 'projector'] as const).map((role) => this.#keepAlive(role))
    await this.#keepAlive('producer')
    await this.#untilAllKilled()
    // The effect of a later order shows that those before it do not come any more.
    const placed = await this.#placeMarkers(orders)
    const hasMarkers = async () => {
      const { effects, projected } = await this.#tables()
      const isMarked = (rows: readonly number[]) =>
        new Set(rows.filter((n) => n >= orders)).size >= placed.count
      return isMarked(effects) && isMarked(projected)
    }
    await this.#until(hasMarkers, this.#options.settleMs ?? 120_000, () => 'effects of the last orders')
    await this.#stopAll()
    await Promise.all(others)
    const [tables, unpublished] = [await this.#tables(), await this.#count('outbox', 'eventspine_outbox')]
    const violations = [
      ...this.#failures,
      ...(await this.#deadLetters()),
      ...judgeEffects(placed.end, tables),
    ]
    return { violations, kills: this.#kills, phases: this.#phases, unpublished }
  }

  /** Creates the consumer group before the first publish, because RabbitMQ keeps no event for a group without a queue. */
  async #createGroup(): Promise<void> {
    await using bus = createTortureBus({ ...this.#bus, consumerName: 'first' })
    bus.subscribeToAllEvents(() => undefined, { name: 'effect' })
    bus.startConsumingInBackground()
    await bus.whenConsuming()
  }

  /** Records a violation if there is no kill for some time. */
  async #untilAllKilled(): Promise<void> {
    const total = () => ROLES.reduce((sum, role) => sum + this.#kills[role], 0)
    const isOver = () => ROLES.every((role) => this.#kills[role] >= this.#killsOf(role))
    while (!isOver()) {
      const before = total()
      const failures = this.#failures.length
      await this.#until(
        () => isOver() || total() > before,
        KILL_MS,
        () => JSON.stringify(this.#kills),
      )
      if (this.#failures.length > failures) return
    }
  }

  /** @returns a sentence for each dead letter: no handler fails. */
  async #deadLetters(): Promise<readonly string[]> {
    await using bus = createTortureBus({ ...this.#bus, consumerName: 'judge' })
    await bus.connect()
    const { deadLetters } = await bus.deadLetters.list()
    return deadLetters.map(
      ({ eventId, reason, errorMessage }) => `${eventId} is a dead letter: ${reason}, ${errorMessage}`,
    )
  }

  async end(): Promise<void> {
    this.#isEnding = true
    for (const child of this.#children.values()) child.kill('SIGKILL')
    if (!('file' in this.#place)) {
      const { schema } = this.#place
      await this.#withClient((client) => client.query(`drop schema if exists ${schema} cascade`))
    }
  }

  /** Places one order of each customer. @returns their number, and the number after the last order. */
  async #placeMarkers(from: number): Promise<{ readonly count: number; readonly end: number }> {
    // The last number is no canceled order, and each customer has one that is committed.
    const end = from + 2 * CUSTOMERS
    const child = this.#spawn({ role: 'producer', orders: [from, end], killWithin: 0 })
    const [code] = await once(child, 'close')
    if (code !== 0) this.#failures.push(`the producer ended with ${String(code)}`)
    const placed = (await this.#tables()).orders.filter((n) => n >= from)
    return { count: placed.length, end }
  }

  /** Runs a process until it ends by itself, and starts it again when it has killed itself. */
  async #keepAlive(role: Role): Promise<void> {
    const { orders, kills } = this.#options
    for (;;) {
      const isKilled = this.#kills[role] < this.#killsOf(role)
      // A producer places only what is left, and must be killed before it has placed all.
      const from = role === 'producer' ? ((await this.#tables()).orders.at(-1) ?? -1) + 1 : 0
      const killWithin = Math.max(1, Math.min(LONGEST_LIFE[role], Math.floor((0.9 * orders) / (kills + 1))))
      const child = this.#spawn({ role, orders: [from, orders], killWithin: isKilled ? killWithin : 0 })
      this.#children.set(role, child)
      let phase = ''
      child.stdio[3]?.on('data', (text: Buffer) => {
        phase = text.toString()
      })
      const [code, signal]: (number | string | null)[] = await once(child, 'close')
      this.#children.delete(role)
      if (this.#isEnding || code === 0) return
      if (signal === 'SIGKILL') {
        this.#kills[role] += 1
        this.#phases[role][phase] = (this.#phases[role][phase] ?? 0) + 1
      } else this.#failures.push(`the ${role} ended with ${code ?? signal}`)
      if (this.#kills[role] % 10 === 0)
        this.#options.onProgress?.(`${role} killed ${this.#kills[role]} times`)
    }
  }

  #killsOf(role: Role): number {
    return this.#options.killed?.includes(role) === false ? 0 : this.#options.kills
  }

  #spawn(parts: Pick<ProgramOptions, 'role' | 'orders' | 'killWithin'>): ChildProcess {
    const options: ProgramOptions = {
      ...parts,
      place: this.#place,
      bus: { ...this.#bus, consumerName: parts.role },
      seed: this.#randoms[parts.role].integer(1, 1e9),
      fault: this.#options.fault,
      longestLifeMs: this.#options.longestLifeMs ?? 1500,
    }
    return spawn(process.execPath, [PROGRAM, JSON.stringify(options)], {
      // The end of the first stream ends the process, so that none is left if the run is killed.
      stdio: ['pipe', 'inherit', 'inherit', 'pipe'],
      env: { ...process.env, NODE_COMPILE_CACHE: this.#compiled },
    })
  }

  async #stopAll(): Promise<void> {
    this.#isEnding = true
    const ends = [...this.#children.values()].map(async (child) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), END_MS)
      child.kill('SIGTERM')
      await once(child, 'close')
      clearTimeout(timer)
      if (child.exitCode !== 0) this.#failures.push(`a process ended with ${child.signalCode}`)
    })
    await Promise.all(ends)
  }

  /** Records a violation if the condition is not met in time. */
  async #until(
    condition: () => boolean | Promise<boolean>,
    timeoutMs: number,
    describe: () => string,
  ): Promise<void> {
    await waitFor(condition, { timeoutMs: paced(timeoutMs), intervalMs: 100, describe }).catch(
      (error: unknown) => this.#failures.push(String(error)),
    )
  }

  async #createTables(): Promise<void> {
    await using stores = storesOf(this.#place)
    await stores.ready()
    const id = 'file' in this.#place ? 'integer primary key autoincrement' : 'bigserial'
    for (const table of ['orders', 'effects', 'projected'])
      await this.#run(`create table ${tableName(this.#place, table)} (id ${id}, n integer)`)
  }

  async #tables(): Promise<EffectTables> {
    const of = async (table: string) => {
      const rows = await this.#run(`select n from ${tableName(this.#place, table)} order by id`)
      return rows.map(({ n }) => Number(n))
    }
    return { orders: await of('orders'), effects: await of('effects'), projected: await of('projected') }
  }

  async #count(inPostgres: string, inSqlite: string): Promise<number> {
    const table = 'file' in this.#place ? inSqlite : tableName(this.#place, inPostgres)
    const [row] = await this.#run(`select count(*) as n from ${table}`)
    return Number(row?.['n'])
  }

  async #run(text: string): Promise<readonly Record<string, unknown>[]> {
    if (!('file' in this.#place)) return this.#withClient(async (client) => (await client.query(text)).rows)
    const db = new DatabaseSync(this.#place.file, { timeout: 20_000 })
    try {
      return db.prepare(text).all()
    } finally {
      db.close()
    }
  }

  async #withClient<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client(this.#options.postgresUrl)
    await client.connect()
    try {
      return await work(client)
    } finally {
      await client.end()
    }
  }
}
