import { setTimeout as delay } from 'node:timers/promises'
import { wrongCursor } from '../kit/index.ts'
import type {
  Consumption,
  DeadLetterStore,
  GroupControlStore,
  GroupTypeStore,
  Intake,
  OutgoingMessage,
  PresenceStore,
  PublishFailure,
  RateStore,
  StoredDeadLetter,
  Transport,
  TransportAdmin,
  TransportCheckup,
  TransportHost,
  WaitingStore,
} from '../transport/index.ts'
import { ConnectionError, PublishTimeoutError, SweepRun } from '../transport/index.ts'
import type { MemoryBroker } from './memory-broker.ts'
import { MemoryConsumption, unreachable } from './memory-consumption.ts'

/** Those of the options of a bus that its transport needs. */
export interface MemoryTransportOptions {
  readonly consumerGroup: string
  readonly publishTimeoutMs: number
  /** Makes the group last as long as its consumption. Default false. */
  readonly broadcast?: boolean
  /** Handles an aggregate only while no other consumer of the group does. Default false. */
  readonly keepsOrder?: boolean
}

/** The transport of {@link MemoryBroker}, small enough to serve as an example of a transport. */
export class MemoryTransport implements Transport {
  readonly system = 'memory'
  readonly destination = 'memory-broker'
  readonly deadLetters: DeadLetterStore
  readonly groupTypes: GroupTypeStore
  readonly waiting: WaitingStore
  readonly rates: RateStore
  readonly #broker: MemoryBroker
  readonly #group: string
  readonly #host: TransportHost
  readonly #publishTimeoutMs: number
  readonly #keepsOrder: boolean
  readonly #broadcasts: boolean
  #unlisten: (() => void) | undefined
  #consumption: MemoryConsumption | undefined
  #wasDown = false
  #isClosed = false
  #isCrashed = false

  constructor(
    broker: MemoryBroker,
    { consumerGroup: group, publishTimeoutMs, broadcast = false, keepsOrder = false }: MemoryTransportOptions,
    host: TransportHost,
  ) {
    this.#broker = broker
    this.#group = group
    this.#host = host
    this.#publishTimeoutMs = publishTimeoutMs
    this.#keepsOrder = keepsOrder
    this.#broadcasts = broadcast
    this.groupTypes = groupTypesOf(broker, group)
    this.waiting = waitingOf(broker, group)
    this.rates = ratesOf(broker, group)
    this.deadLetters = deadLettersOf(broker, this.waiting)
  }

  connect(): Promise<void> {
    if (this.#broker.isDown) {
      return Promise.reject(new ConnectionError('CONNECTION_FAILED', 'The memory broker is down.'))
    }
    this.#unlisten ??= this.#broker.onChange(() => this.#reportConnection())
    return Promise.resolve()
  }

  async publish(
    messages: readonly OutgoingMessage[],
    signal: AbortSignal,
  ): Promise<readonly PublishFailure[]> {
    if (this.#broker.refusesPublishes) {
      const error = new ConnectionError('CONNECTION_LOST', 'The memory broker refuses publishes.')
      return messages.map((_message, index) => ({ index, status: 'notStored', error }))
    }
    if (!(await this.#brokerUp(signal))) {
      const error = new PublishTimeoutError(this.#publishTimeoutMs, 'the memory broker is down')
      return messages.map((_message, index) => ({ index, status: 'notStored', error }))
    }
    if (this.#broker.latencyMs > 0) await delay(this.#broker.latencyMs)
    for (const message of messages) this.#broker.append(message)
    if (!this.#broker.losesConfirmations) return []
    const error = new ConnectionError('CONNECTION_LOST', 'The confirmation was lost.')
    return messages.map((_message, index) => ({ index, status: 'unknown', error }))
  }

  consume(intake: Intake): Promise<Consumption> {
    this.#broker.ensureGroup(this.#group, this.#broadcasts)
    const onEnd = () => this.#broadcasts && this.#broker.removeGroup(this.#group)
    this.#consumption = new MemoryConsumption(
      this.#broker,
      { group: this.#group, keepsOrder: this.#keepsOrder, onEnd },
      intake,
      this.#host,
    )
    return Promise.resolve(this.#consumption)
  }

  lag(): Promise<number | undefined> {
    if (this.#broker.isDown) {
      return Promise.reject(new ConnectionError('CONNECTION_LOST', 'The memory broker is down.'))
    }
    return Promise.resolve(this.#broker.lag(this.#group))
  }

  async loadAdmin(): Promise<TransportAdmin> {
    const { MemoryAdmin } = await import('./memory-admin.ts')
    return new MemoryAdmin(this.#broker)
  }

  /** The groups alone can have faults. */
  loadCheckup(): Promise<TransportCheckup> {
    return Promise.resolve({
      open: () => Promise.resolve('The broker is in memory.'),
      checks: [],
      groups: async () => (await this.loadAdmin()).groups(),
      close: () => Promise.resolve(),
    })
  }

  loadPresence(): Promise<PresenceStore> {
    return Promise.resolve(presenceOf(this.#broker, () => this.#isCrashed))
  }

  loadControl(): Promise<GroupControlStore> {
    return Promise.resolve(controlOf(this.#broker, this.#group))
  }

  close(): Promise<void> {
    this.#isClosed = true
    this.#unlisten?.()
    return Promise.resolve()
  }

  /** Stops the consumer as a killed process would; its messages are redelivered to others. */
  crash(): void {
    this.#isCrashed = true
    this.#consumption?.crash()
  }

  #reportConnection(): void {
    if (this.#broker.isDown === this.#wasDown) return
    this.#wasDown = this.#broker.isDown
    if (!this.#wasDown) this.#host.notify({ type: 'reconnected' })
    else {
      const error = new ConnectionError('CONNECTION_LOST', 'The memory broker went down.')
      this.#host.notify({ type: 'connectionLost', error })
    }
  }

  /** Waits until the broker is up. @returns false if the signal aborts first. */
  #brokerUp(signal: AbortSignal): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const check = () => {
      if (signal.aborted || this.#isClosed) resolve(false)
      else if (!this.#broker.isDown) resolve(true)
    }
    const unlisten = this.#broker.onChange(check)
    signal.addEventListener('abort', check, { once: true })
    check()
    return promise.finally(unlisten)
  }
}

function waitingOf(broker: MemoryBroker, group: string): WaitingStore {
  return {
    parkProblem: undefined,
    prepare: () => Promise.resolve(),
    release: () => (broker.isDown ? unreachable() : Promise.resolve(broker.release(group))),
    count: () => Promise.resolve(broker.waitsOf(group)?.size ?? 0),
    oldestSince: () => Promise.resolve(broker.waitsOf(group)?.oldestSince),
  }
}

function ratesOf(broker: MemoryBroker, group: string): RateStore {
  return {
    take: (name, ratePerSecond) =>
      broker.isDown ? unreachable() : Promise.resolve(broker.rates.take(`${group} ${name}`, ratePerSecond)),
  }
}

function controlOf(broker: MemoryBroker, ownGroup: string): GroupControlStore {
  const read = (group: string) =>
    broker.isDown ? unreachable() : Promise.resolve(broker.controls.get(group))
  return {
    staysInGroup: false,
    poll: () => read(ownGroup),
    read,
    write: (group, text) => {
      if (broker.isDown) return unreachable()
      if (text === undefined) broker.controls.delete(group)
      else broker.controls.set(group, text)
      return Promise.resolve()
    },
  }
}

/** @param isGone - true for a process that was killed, which reports nothing any more. */
function presenceOf(broker: MemoryBroker, isGone: () => boolean): PresenceStore {
  const { reports } = broker
  const attempt = <T>(work: () => T) => (broker.isDown ? unreachable() : Promise.resolve(work()))
  return {
    write: (report) =>
      attempt(() => {
        if (!isGone()) reports.set(report.id, { ...report, seenAt: Date.now() })
      }),
    remove: (id) =>
      attempt(() => {
        if (!isGone()) reports.delete(id)
      }),
    list: () =>
      attempt(() => {
        const living = [...reports.values()].filter(({ seenAt, ttlMs }) => seenAt + ttlMs > Date.now())
        return living.map(({ text, seenAt }) => ({ text, seenAt: new Date(seenAt) }))
      }),
  }
}

/** Its members are in one process, so that an answer is never old. */
function groupTypesOf(broker: MemoryBroker, group: string): GroupTypeStore {
  const handledNow = (names: readonly string[]) => {
    const known = broker.typesOf(group)
    return new Set(names.filter((name) => known.has(name)))
  }
  return {
    freshMs: 0,
    announce: (types) => {
      for (const type of types) broker.typesOf(group).add(type)
      return Promise.resolve(false)
    },
    handled: (types) => Promise.resolve(handledNow(types)),
    handledNow,
  }
}

function deadLettersOf(broker: MemoryBroker, waiting: WaitingStore): DeadLetterStore {
  const find = (id: string) => broker.deadLetters().find((letter) => letter.id === id)
  return {
    list: async (limit, cursor, listing) => {
      if (cursor !== undefined && !/^\d{1,15}-[0-9a-f]{4}$/.test(cursor)) throw wrongCursor(cursor)
      const { order, matches, maxScanned } = listing ?? { order: 'oldest', matches: () => true }
      const all = order === 'oldest' ? broker.deadLetters() : broker.deadLetters().toReversed()
      const start = cursor === undefined ? 0 : all.findIndex(isBehind(cursor, order))
      const window =
        start < 0 ? [] : all.slice(start, maxScanned === undefined ? undefined : start + maxScanned)
      const found = window.filter(matches)
      const letters = found.slice(0, limit)
      const isFull = found.length > limit
      const isMore = isFull || (start >= 0 && start + window.length < all.length)
      return { letters, cursor: isMore ? (isFull ? letters : window).at(-1)?.id : undefined }
    },
    sweep: async (visit, options) => {
      const run = new SweepRun(visit, options, async (actions) => {
        const outcomes = actions.map(({ item: { letter }, replay }) =>
          replay === undefined ? broker.removeDeadLetter(letter.id) : broker.replay(letter.id, replay),
        )
        waiting.onReady?.()
        return outcomes
      })
      await run.take(broker.deadLetters().map((letter) => ({ letter })))
      return run.report
    },
    append: (letter, group) => Promise.resolve(broker.appendDeadLetter(letter, group)),
    get: (id) => Promise.resolve(find(id)),
    count: (group) => {
      const isCounted = ({ reason }: StoredDeadLetter) => (reason.consumerGroup ?? group) === group
      return Promise.resolve(broker.deadLetters().filter((it) => group === undefined || isCounted(it)).length)
    },
    replay: (id, request) => {
      const isReplayed = broker.replay(id, request)
      waiting.onReady?.()
      return Promise.resolve(isReplayed)
    },
    remove: (ids) => {
      const removed = ids.filter((id) => broker.removeDeadLetter(id))
      waiting.onReady?.()
      return Promise.resolve(removed.length)
    },
  }
}

/** True for letters that follow a cursor. The ids of the broker start with ascending numbers. */
function isBehind(cursor: string, order: 'oldest' | 'newest'): (letter: StoredDeadLetter) => boolean {
  const at = Number.parseInt(cursor, 10)
  return ({ id }) => (order === 'oldest' ? Number.parseInt(id, 10) > at : Number.parseInt(id, 10) < at)
}
