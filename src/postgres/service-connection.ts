import { randomUUID } from 'node:crypto'
import { toError } from '../errors.ts'
import { RECONNECT_BACKOFF } from '../kit/backoff.ts'
import { settledWithin } from '../kit/time.ts'
import type { Logger } from '../observability/logger.ts'
import { isNoAnswer } from './answers.ts'
import type { DedicatedClient } from './client.ts'
import type { PostgresConnections } from './connections.ts'
import { connectionFailure, isBroken, STORE, translated } from './errors.ts'
import { ClientSession, type Row, type Session, type Statement } from './session.ts'

/** The channel of all stores of a database. The payload names the store. */
const CHANNEL = 'eventspine'

/** Interval of heartbeats on a silent connection, and deadline of each answer, in milliseconds. */
const HEARTBEAT_MS = 5000

/** Maximum wait for the connection to close, in milliseconds. */
const CLOSE_MS = 5000

/** Deadline for the notification that tests whether notifications arrive, in milliseconds. */
const PROBE_MS = 2000

const HEARTBEAT: Statement = { key: 'heartbeat', text: 'select 1' }
// A notification stores no data, so its commit does not wait for the disk, which appends are using.
const NOTIFY: Statement = {
  key: 'notify',
  text: `select set_config('synchronous_commit', 'off', true), pg_notify('${CHANNEL}', $1)`,
}

export interface ServiceEvents {
  /** Called with each notification. */
  readonly onNotification: (payload: string) => void
  /** Called when notifications start or stop to arrive. Those sent in between are lost. */
  readonly onListening: (isListening: boolean) => void
}

interface Open {
  readonly client: DedicatedClient
  readonly session: ClientSession
}

/**
 * A connection outside of the pool, for leases and notifications, which must not queue behind transactions. It is opened
 * at the first use, tested regularly, and reopened if it broke.
 */
export class ServiceConnection implements Session {
  readonly #connections: PostgresConnections
  readonly #logger: Logger
  readonly #events: ServiceEvents
  readonly #closing = new AbortController()
  #open: Promise<Open | undefined> | undefined
  #isWanted = false
  #isListening = false
  #hasFailed = false
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #probe: { readonly payload: string; readonly arrived: () => void } | undefined

  constructor(connections: PostgresConnections, logger: Logger, events: ServiceEvents) {
    this.#connections = connections
    this.#logger = logger
    this.#events = events
  }

  /** True while notifications arrive. */
  get isListening(): boolean {
    return this.#isListening
  }

  /** Starts to receive notifications, until `close`. */
  listen(): void {
    if (this.#isWanted || this.#closing.signal.aborted) return
    this.#isWanted = true
    void this.#maintain()
  }

  notify(payload: string): Promise<unknown> {
    return this.run(NOTIFY, [payload])
  }

  async run(statement: Statement, values: readonly unknown[] = []): Promise<readonly Row[]> {
    const open = await this.#opened()
    return open === undefined ? this.#connections.run(statement, values) : this.#send(open, statement, values)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    clearTimeout(this.#timer)
    this.#setListening(false)
    const open = await this.#open?.catch(() => undefined) // nothing to close if it could not be opened
    this.#open = undefined
    const limitMs = Math.min(this.#connections.style.answerTimeoutMs, CLOSE_MS)
    if (open !== undefined) await settledWithin(open.client.end(), limitMs)
  }

  async #send(open: Open, statement: Statement, values?: readonly unknown[]): Promise<readonly Row[]> {
    try {
      return await open.session.send(statement, values)
    } catch (thrown) {
      if (isNoAnswer(thrown)) this.#connections.dropIdle()
      if (isBroken(thrown)) this.#lost(open, toError(thrown))
      throw translated(thrown, statement.isWrite === true)
    }
  }

  #opened(): Promise<Open | undefined> {
    if (this.#closing.signal.aborted) return this.#open ?? Promise.resolve(undefined)
    this.#open ??= this.#connect().catch((thrown: unknown) => {
      this.#open = undefined
      throw connectionFailure(thrown, this.#connections)
    })
    return this.#open
  }

  async #connect(): Promise<Open | undefined> {
    const client = await this.#connections.dedicated()
    if (client === undefined) return undefined
    const { prefix, answerTimeoutMs } = this.#connections.style
    const style = { prefix, answerTimeoutMs: Math.min(answerTimeoutMs, HEARTBEAT_MS) }
    const open = { client, session: new ClientSession(client, style) }
    client.on('error', (error) => this.#lost(open, toError(error)))
    client.on('end', () => this.#lost(open, new Error('the connection ended')))
    client.on('notification', (message) => this.#received(message))
    await client.connect()
    return open
  }

  /** Connects, listens, and tests both regularly. Never rejects. */
  async #maintain(): Promise<void> {
    clearTimeout(this.#timer)
    let pauseMs = HEARTBEAT_MS
    try {
      const open = await this.#opened()
      if (open === undefined) {
        this.#report(new Error('the pool does not expose how to create a separate connection'))
        return
      }
      await this.#check(open)
      this.#failures = 0
    } catch (thrown) {
      this.#report(toError(thrown))
      this.#failures += 1
      pauseMs = RECONNECT_BACKOFF.backoff(this.#failures)
    }
    if (this.#closing.signal.aborted) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#maintain(), pauseMs)
  }

  /** @throws an error with the reason if notifications do not arrive. */
  async #check(open: Open): Promise<void> {
    if (this.#isListening) return void (await this.#send(open, HEARTBEAT))
    await this.#send(open, { key: 'listen', text: `listen ${CHANNEL}` })
    await this.#tryPooler(open)
    this.#setListening(true)
  }

  /**
   * A pooler in transaction mode accepts LISTEN but drops the notifications. It reports another process id than the
   * server. In that case a test notification is sent over the pool.
   */
  async #tryPooler({ client, session }: Open): Promise<void> {
    const [[pid] = []] = await session.run({ key: 'pid', text: 'select pg_backend_pid()' })
    if (client.processID === undefined || client.processID === null || client.processID === Number(pid))
      return
    const { promise, resolve } = Promise.withResolvers<void>()
    const payload = `probe ${randomUUID()}`
    this.#probe = { payload, arrived: resolve }
    try {
      await this.#connections.run(NOTIFY, [payload])
      if (await settledWithin(promise, PROBE_MS)) return
    } finally {
      this.#probe = undefined
    }
    throw new Error('a pooler drops the notifications')
  }

  #received(message: unknown): void {
    const payload: unknown =
      typeof message === 'object' && message !== null ? Reflect.get(message, 'payload') : ''
    if (typeof payload !== 'string') return
    if (payload === this.#probe?.payload) this.#probe.arrived()
    else this.#events.onNotification(payload)
  }

  #lost(open: Open, error: Error): void {
    if (this.#closing.signal.aborted) return
    void this.#open?.then(
      (present) => {
        if (present !== open) return
        this.#open = undefined
        this.#setListening(false)
        open.client.end().catch(() => undefined) // it is already broken
        if (!this.#isWanted) return
        this.#report(error)
        clearTimeout(this.#timer)
        this.#timer = setTimeout(() => void this.#maintain(), RECONNECT_BACKOFF.backoff(1))
      },
      () => undefined, // its callers get the error
    )
  }

  #setListening(isListening: boolean): void {
    if (this.#isListening === isListening) return
    this.#isListening = isListening
    if (isListening && this.#hasFailed) {
      this.#hasFailed = false
      this.#logger.info('wake-ups by NOTIFY resumed', { store: STORE })
    }
    this.#events.onListening(isListening)
  }

  /** Logs once, until notifications arrive again. */
  #report(error: Error): void {
    if (this.#hasFailed || this.#closing.signal.aborted) return
    this.#hasFailed = true
    this.#logger.warn('wake-ups by NOTIFY do not arrive, polling instead', { store: STORE, error })
  }
}
