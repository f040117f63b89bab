import type { EventRow } from '../store/event-row.ts'
import { StoreUnavailableError } from '../store/index.ts'
import {
  type AppendOutcome,
  appendManyStatement,
  appendOneStatement,
  appendStatement,
  eventColumns,
  type OutcomeLetter,
  oneEvent,
  type PreparedAppend,
} from './append-statement.ts'
import { PostgresValueError, STORE, translated } from './errors.ts'
import { isTrue, numberOf, type Row, type Session, type Statement, textOf } from './session.ts'

/** Limits for appends that are sent together: number of events, and approximate bytes. */
const MAX_EVENTS = 200
const MAX_BYTES = 256 * 1024

/** Number of concurrent groups while the server answers promptly. */
const FLIGHTS = 2

/** A group without an answer after this time, in milliseconds, does not delay the next one. */
const SLOW_MS = 25

/** Maximum number of concurrent groups. Each uses a connection. */
const MAX_FLIGHTS = 4

/** Maximum wait of a group for another transaction's lock, in milliseconds. The blocked append is then sent alone. */
const PATIENCE_MS = 100

/** The notification that an append may send with its own commit. */
export interface CommitNotice {
  /** @returns its payload; null if the append must not notify. */
  take(): string | null
  /** The append that took it has ended. */
  end(isNotified: boolean): void
}

interface WaitingAppend {
  readonly append: PreparedAppend
  readonly resolve: (outcome: AppendOutcome) => void
  readonly reject: (error: unknown) => void
}

interface Flight {
  readonly startedAt: number
  /** Runs only while an append is waiting. */
  timer: NodeJS.Timeout | undefined
  isSlow: boolean
}

/**
 * Sends appends that arrive while others are in flight as one transaction, so that they share one flush to the disk. A
 * single append is sent at once. Each append has its own outcome.
 */
export class GroupCommit {
  readonly #session: Session
  readonly #one: Statement
  readonly #alone: Statement
  readonly #many: Statement
  readonly #isSerialized: boolean
  readonly #notice: CommitNotice
  #waiting: WaitingAppend[] = []
  readonly #streams = new Set<string>()
  readonly #flights = new Set<Flight>()

  constructor(session: Session, schema: string, isSerialized: boolean, notice: CommitNotice) {
    this.#session = session
    this.#notice = notice
    this.#one = appendOneStatement(schema)
    this.#alone = appendStatement(schema)
    this.#many = appendManyStatement(schema)
    this.#isSerialized = isSerialized
  }

  append(append: PreparedAppend): Promise<AppendOutcome> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ append, resolve, reject })
      this.#depart()
    })
  }

  /** Starts as many groups as the limits allow. */
  #depart(): void {
    while (this.#waiting.length > 0 && this.#mayDepart()) {
      const group = this.#board()
      if (group.length === 0) break
      void this.#fly(group)
    }
    if (this.#waiting.length > 0) for (const flight of this.#flights) this.#watch(flight)
  }

  #mayDepart(): boolean {
    let prompt = 0
    for (const { isSlow } of this.#flights) if (!isSlow) prompt += 1
    return prompt < FLIGHTS && this.#flights.size < MAX_FLIGHTS
  }

  /** Called while an append waits for this flight. If the flight is slow, the next group does not wait for it. */
  #watch(flight: Flight): void {
    if (flight.isSlow) return
    const leftMs = flight.startedAt + SLOW_MS - performance.now()
    flight.timer ??= setTimeout(
      () => {
        flight.isSlow = true
        this.#depart()
      },
      Math.max(0, leftMs),
    )
  }

  /**
   * Returns the next group. It contains no stream twice, because the second append depends on the outcome of the first.
   */
  #board(): readonly WaitingAppend[] {
    const group: WaitingAppend[] = []
    const rest: WaitingAppend[] = []
    const passedBy = new Set<string>()
    let [events, bytes] = [0, 0]
    for (const waiting of this.#waiting) {
      const { append } = waiting
      const stream = streamKey(append)
      const fits =
        group.length === 0 || (events + append.rows.length <= MAX_EVENTS && bytes + append.bytes <= MAX_BYTES)
      if (!fits || this.#streams.has(stream) || passedBy.has(stream)) {
        rest.push(waiting)
        passedBy.add(stream)
        continue
      }
      group.push(waiting)
      this.#streams.add(stream)
      events += append.rows.length
      bytes += append.bytes
    }
    this.#waiting = rest
    // All groups lock streams in the same order; otherwise two groups could deadlock.
    return group.toSorted((a, b) => (streamKey(a.append) < streamKey(b.append) ? -1 : 1))
  }

  async #fly(group: readonly WaitingAppend[]): Promise<void> {
    const flight: Flight = { startedAt: performance.now(), isSlow: false, timer: undefined }
    this.#flights.add(flight)
    try {
      await this.#send(group)
    } finally {
      clearTimeout(flight.timer)
      this.#flights.delete(flight)
      for (const { append } of group) this.#streams.delete(streamKey(append))
      this.#depart()
    }
  }

  /** Never rejects. */
  async #send(group: readonly WaitingAppend[]): Promise<void> {
    const [first, second] = group
    if (first === undefined) return
    if (second === undefined) return this.#sendAlone(first)
    let outcomes: readonly AppendOutcome[]
    try {
      outcomes = await this.#sendTogether(group.map(({ append }) => append))
    } catch (thrown) {
      // Nothing was stored. The server may have refused only one append, and the others must not fail for it.
      if (isRefusal(thrown)) await Promise.all(group.map((waiting) => this.#sendAlone(waiting)))
      else for (const { reject } of group) reject(thrown)
      return
    }
    await Promise.all(
      group.map(async (waiting, index) => {
        const outcome = outcomes[index]
        if (outcome === undefined || outcome.letter === 'b') await this.#sendAlone(waiting)
        else waiting.resolve(outcome)
      }),
    )
  }

  async #sendAlone({ append, resolve, reject }: WaitingAppend): Promise<void> {
    try {
      const written = await this.#sendOneEvent(append)
      resolve(
        written ?? (await sendAppend(this.#session, this.#alone, append, this.#isSerialized, undefined)),
      )
    } catch (thrown) {
      reject(thrown)
    }
  }

  /** @returns undefined if the append has another form, or was not written. */
  async #sendOneEvent(append: PreparedAppend): Promise<AppendOutcome | undefined> {
    const [event, second] = append.rows
    // A serialized append reads the stream only after it has waited for the previous append.
    if (event === undefined || second !== undefined || this.#isSerialized) return undefined
    const payload = this.#notice.take()
    let isNotified = false
    try {
      const [row] = await this.#insert(append, event, payload)
      if (row === undefined) return undefined
      isNotified = isTrue(row[2])
      return { letter: 'w', version: numberOf(row[0]) - 1, lastPosition: numberOf(row[1]), isNotified }
    } finally {
      if (payload !== null) this.#notice.end(isNotified)
    }
  }

  async #insert(append: PreparedAppend, event: EventRow, payload: string | null): Promise<readonly Row[]> {
    try {
      return await this.#session.run(this.#one, oneEvent(append, event, payload))
    } catch (thrown) {
      // The queue of notifications may be full, for which no append may fail.
      if (payload === null || !(thrown instanceof PostgresValueError)) throw thrown
      return this.#session.run(this.#one, oneEvent(append, event, null))
    }
  }

  async #sendTogether(appends: readonly PreparedAppend[]): Promise<readonly AppendOutcome[]> {
    const rows = appends.flatMap((append) => append.rows)
    const [row = []] = await this.#session.run(this.#many, [
      appends.map(({ aggregateType }) => aggregateType),
      appends.map(({ aggregateId }) => aggregateId),
      appends.map(({ expected }) => expected),
      appends.flatMap((append, index) => append.rows.map(() => index + 1)),
      appends.flatMap((append) => append.rows.map((_, index) => index + 1)),
      ...eventColumns(rows),
      this.#isSerialized,
      PATIENCE_MS,
    ])
    return outcomesOf(appends, row)
  }
}

/** Sends one append. @param channelPayload - the notification to send with the commit; undefined outside of a caller's transaction. */
export async function sendAppend(
  session: Session,
  statement: Statement,
  { aggregateType, aggregateId, expected, rows }: PreparedAppend,
  isSerialized: boolean,
  inTransaction: { readonly notify: string | null } | undefined,
): Promise<AppendOutcome> {
  const [row = []] = await session.run(statement, [
    aggregateType,
    aggregateId,
    expected,
    ...eventColumns(rows),
    inTransaction !== undefined,
    isSerialized,
    inTransaction?.notify ?? null,
  ])
  // A record as text: (w,3,17)
  const [text, version, position] = textOf(row[0]).slice(1, -1).split(',')
  const letter = letterOf(text)
  return { letter, version: numberOf(version), lastPosition: letter === 'w' ? numberOf(position) : 0 }
}

function outcomesOf(
  appends: readonly PreparedAppend[],
  [letters, versions, positions]: Row,
): readonly AppendOutcome[] {
  const version = textOf(versions).split(',')
  const position = textOf(positions).split(',')
  let written = 0
  return appends.map(({ rows }, index) => {
    const letter = letterOf(textOf(letters)[index] ?? null)
    if (letter === 'w') written += rows.length
    const lastPosition = letter === 'w' ? Number(position[written - 1]) : 0
    return { letter, version: Number(version[index]), lastPosition }
  })
}

function letterOf(text: string | null | undefined): OutcomeLetter {
  switch (text) {
    case 'w':
    case 'c':
    case 'd':
    case 'k':
    case 'b':
    case 's':
      return text
    default:
      throw new StoreUnavailableError(
        STORE,
        `the server answered an append with ${text}, which this release does not know`,
      )
  }
}

/** True if the server refused the statement and the connection still works. */
function isRefusal(thrown: unknown): boolean {
  const { retryable } = Object(thrown) as { retryable?: unknown }
  return retryable !== true && translated(thrown, false) === thrown
}

function streamKey({ aggregateType, aggregateId }: PreparedAppend): string {
  return `${aggregateType}\0${aggregateId}`
}
