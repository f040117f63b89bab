import { BrokerEventBus, type EventBus } from '../bus/index.ts'
import { toError } from '../errors.ts'
import type { GroupInfo } from '../transport/index.ts'
import type { BusState } from './layout.ts'
import type { StateKey } from './state.ts'

/** Interval of the reads of a bus while its page is open, in milliseconds. */
const EVERY_MS = 5000
/** The groups that a page shows are no older, in milliseconds. */
const FRESH_MS = 1500
/** How long the numbers of a group are kept, and how long a bus is looked at after its last viewer, in milliseconds. */
export const SHOWN_MS = 15 * 60_000
/** An answer that takes longer counts as none, in milliseconds. */
const ANSWER_MS = 3000
/** A question that is open for longer is asked again, in milliseconds. */
const ABANDONED_MS = 10_000

/** One look at the groups of a bus. */
export interface GroupSample {
  readonly at: number
  /** The lag of each group; undefined if the broker does not report it. */
  readonly lags: ReadonlyMap<string, number | undefined>
}

/** What is known of a bus. */
export interface BusView {
  /** As of the last answer; undefined before it. */
  readonly groups: readonly GroupInfo[] | undefined
  readonly answeredAt: Date | undefined
  /** Why the broker did not answer the last time; undefined if it did. */
  readonly problem: string | undefined
  /** How to fix it, if that is known. */
  readonly remedy: string | undefined
  /** Since when it does not answer. */
  readonly awaySince: Date | undefined
  /** Oldest first, of the last 15 minutes. */
  readonly samples: readonly GroupSample[]
  /** True if the bus runs its handlers itself: it has no broker and no groups. */
  readonly isInMemory: boolean
}

const NOTHING: BusView = {
  groups: undefined,
  answeredAt: undefined,
  problem: undefined,
  remedy: undefined,
  awaySince: undefined,
  samples: [],
  isInMemory: false,
}

/** Reads the groups of each bus whose page is open, so that pages answer at once and show the last minutes. */
export class BusWatch {
  static readonly key: StateKey<BusWatch> = {
    create: ({ closed, buses }) => new BusWatch(buses, closed),
  }

  readonly #buses: ReadonlyMap<string, EventBus>
  readonly #closed: AbortSignal
  readonly #watched = new Map<string, Watched>()

  private constructor(buses: ReadonlyMap<string, EventBus>, closed: AbortSignal) {
    this.#buses = buses
    this.#closed = closed
  }

  /** Notes that the page of a bus is open. */
  note(name: string | undefined): void {
    if (name !== undefined) this.#get(name)?.wake()
  }

  stateOf(name: string): BusState {
    const view = this.#get(name)?.view
    if (view?.problem !== undefined) return { level: 'away', text: 'broker away' }
    return view?.answeredAt === undefined
      ? { level: 'unknown', text: 'connecting' }
      : { level: 'ok', text: 'connected' }
  }

  /** The dead letters of the groups that pass, as of the last answer. */
  deadLettersOf(name: string, isSeen: (group: string) => boolean): number | undefined {
    const groups = this.#get(name)?.view.groups?.filter((group) => isSeen(group.name))
    return groups?.reduce((sum, { deadLetters }) => sum + deadLetters, 0)
  }

  /** What is known of a bus. Waits for the first answer, or for one after `freshMs`; at most 3 seconds. Never rejects. */
  async view(name: string, freshMs = FRESH_MS): Promise<BusView> {
    const watched = this.#get(name)
    if (watched === undefined) return NOTHING
    await watched.look(freshMs)
    return watched.view
  }

  /** The next view is a new one, because something has been changed. */
  forget(name: string): void {
    this.#get(name)?.forget()
  }

  #get(name: string): Watched | undefined {
    const known = this.#watched.get(name)
    const bus = this.#buses.get(name)
    if (known !== undefined || bus === undefined) return known
    const fresh = new Watched(bus, this.#closed)
    this.#watched.set(name, fresh)
    return fresh
  }
}

class Watched {
  view: BusView
  readonly #bus: EventBus
  readonly #closed: AbortSignal
  #looking: Promise<void> | undefined
  #question: { readonly answer: Promise<readonly GroupInfo[]>; readonly askedAt: number } | undefined
  #isDiagnosing = false
  #lookedAt = Number.NEGATIVE_INFINITY
  #wokenAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor(bus: EventBus, closed: AbortSignal) {
    this.#bus = bus
    this.view = { ...NOTHING, isInMemory: !(bus instanceof BrokerEventBus) }
    this.#closed = closed
    closed.addEventListener('abort', () => clearInterval(this.#timer), { once: true })
  }

  /** Looks regularly from now on. */
  wake(): void {
    this.#wokenAt = Date.now()
    if (this.#timer !== undefined || this.#closed.aborted) return
    this.#timer = setInterval(() => this.#regularly(), EVERY_MS)
    this.#timer.unref()
  }

  #regularly(): void {
    if (Date.now() - this.#wokenAt > SHOWN_MS) {
      clearInterval(this.#timer)
      this.#timer = undefined
      return
    }
    void this.look(EVERY_MS / 2)
  }

  forget(): void {
    this.#lookedAt = Number.NEGATIVE_INFINITY
  }

  /** Asks the broker, unless the last answer is fresh. Never rejects. */
  look(freshMs: number): Promise<void> {
    if (performance.now() - this.#lookedAt < freshMs) return Promise.resolve()
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
      this.#lookedAt = performance.now()
    })
    return this.#looking
  }

  async #look(): Promise<void> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(
      () => late.reject(new Error(`The broker has not answered for ${ANSWER_MS / 1000} seconds.`)),
      ANSWER_MS,
    )
    try {
      this.#answered(await Promise.race([this.#ask(), late.promise]))
    } catch (thrown) {
      const awaySince = this.view.awaySince ?? new Date()
      const { problem, remedy } = this.view
      const message = toError(thrown).message
      this.view = { ...this.view, problem: remedy === undefined ? message : problem, awaySince }
      void this.#diagnose()
    } finally {
      clearTimeout(timer)
    }
  }

  /** Finds out why there is no connection. Never rejects. */
  async #diagnose(): Promise<void> {
    if (this.#isDiagnosing) return
    this.#isDiagnosing = true
    try {
      for await (const { level, text, remedy } of this.#bus.admin.diagnose()) {
        const isAway = this.view.awaySince !== undefined && level === 'fault'
        if (isAway) this.view = { ...this.view, problem: text, remedy }
        break // the first finding is that of the connection
      }
    } catch {
      // The problem itself is shown; only its remedy is unknown.
    } finally {
      this.#isDiagnosing = false
    }
  }

  /** A question that is still open is not asked again, unless it has been open for long. */
  #ask(): Promise<readonly GroupInfo[]> {
    const open = this.#question
    if (open !== undefined && performance.now() - open.askedAt < ABANDONED_MS) return open.answer
    const answer = this.#bus.admin.groups()
    const question = { answer, askedAt: performance.now() }
    this.#question = question
    const end = () => {
      if (this.#question === question) this.#question = undefined
    }
    answer.then(end, end)
    return answer
  }

  #answered(groups: readonly GroupInfo[]): void {
    const at = Date.now()
    const lags = new Map(groups.map(({ name, lag }) => [name, lag] as const))
    const samples = [...this.view.samples.filter((sample) => at - sample.at < SHOWN_MS), { at, lags }]
    const isThere = { problem: undefined, remedy: undefined, awaySince: undefined }
    this.view = { ...this.view, ...isThere, groups, answeredAt: new Date(at), samples }
  }
}
