import { randomUUID } from 'node:crypto'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import type {
  Consumption,
  DeadLetterReason,
  DeadLetterStore,
  Delivery,
  GroupTypeStore,
  IncomingMessage,
  Intake,
  OutgoingMessage,
  PublishFailure,
  StoredDeadLetter,
  Transport,
  TransportHost,
  WaitingStore,
} from '../transport/index.ts'
import { ConnectionError, PublishTimeoutError } from '../transport/index.ts'
import type { MemoryBroker, PendingMessage } from './memory-broker.ts'

/** Number of deliveries after which the loop yields to the event loop. */
const DELIVERIES_PER_TURN = 64

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
    this.deadLetters = deadLettersOf(broker)
    this.groupTypes = groupTypesOf(broker, group)
    this.waiting = waitingOf(broker, group)
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

  close(): Promise<void> {
    this.#isClosed = true
    this.#unlisten?.()
    return Promise.resolve()
  }

  /** Stops the consumer as a killed process would; its messages are redelivered to others. */
  crash(): void {
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

class MemoryConsumption implements Consumption {
  readonly #broker: MemoryBroker
  readonly #group: string
  readonly #intake: Intake
  readonly #host: TransportHost
  readonly #keepsOrder: boolean
  readonly #onEnd: () => void
  readonly #consumer = randomUUID()
  readonly #unsentAcks = new Set<string>()
  /** Messages of which an attempt is running. */
  readonly #inAttempt = new Set<PendingMessage>()
  readonly #unlisten: () => void
  readonly #loop: Promise<void>
  #wake = Promise.withResolvers<void>()
  #isStopped = false
  #isReleased = false

  constructor(
    broker: MemoryBroker,
    group: { readonly group: string; readonly keepsOrder: boolean; readonly onEnd: () => void },
    intake: Intake,
    host: TransportHost,
  ) {
    this.#broker = broker
    this.#group = group.group
    this.#keepsOrder = group.keepsOrder
    this.#onEnd = group.onEnd
    this.#intake = intake
    this.#host = host
    this.#unlisten = broker.onChange(() => this.#onChange())
    this.#loop = this.#run()
  }

  get isFlowing(): boolean {
    return !this.#broker.isDown && this.#broker.hasGroup(this.#group)
  }

  async stopFetching(): Promise<void> {
    this.#isStopped = true
    this.#wake.resolve()
    await this.#loop
  }

  release(): Promise<void> {
    this.#flushAcks()
    this.#isReleased = true
    this.#unlisten()
    // An attempt that this stop interrupts has not failed.
    for (const pending of this.#inAttempt) {
      if (pending.consumer === this.#consumer) pending.attemptsStarted -= 1
    }
    this.#broker.giveBack(this.#group, this.#consumer)
    this.#onEnd()
    return Promise.resolve()
  }

  /** Stops as a killed process would: without acknowledging or giving back its messages. */
  crash(): void {
    this.#isStopped = true
    this.#isReleased = true
    this.#wake.resolve()
    this.#unlisten()
    this.#broker.giveBack(this.#group, this.#consumer)
    this.#onEnd()
  }

  async #run(): Promise<void> {
    for (let turn = 0; !this.#isStopped; turn += 1) {
      // Yield to the event loop, so that other consumers, timers and a stop get their turn.
      if (turn % DELIVERIES_PER_TURN === 0) await nextTurn()
      if (this.#isStopped) return
      this.#wake = Promise.withResolvers()
      if (!this.#broker.isDown && !this.#broker.hasGroup(this.#group)) this.#restoreGroup()
      const message = this.#broker.isDown ? undefined : this.#take()
      if (message === undefined) {
        await this.#wake.promise
        continue
      }
      if (this.#broker.latencyMs > 0) await delay(this.#broker.latencyMs)
      this.#intake.deliver(this.#delivery(message))
      if (this.#intake.room === 0) await this.#intake.whenRoom()
    }
  }

  #take(): PendingMessage | undefined {
    return this.#broker.take(this.#group, this.#consumer, this.#keepsOrder)
  }

  #restoreGroup(): void {
    this.#broker.ensureGroup(this.#group)
    this.#host.notify({ type: 'topologyRestored', what: `consumer group ${this.#group}` })
  }

  #onChange(): void {
    if (!this.#broker.isDown) this.#flushAcks()
    this.#wake.resolve()
  }

  #flushAcks(): void {
    if (this.#broker.isDown) return
    for (const id of this.#unsentAcks) this.#broker.settle(this.#group, id)
    this.#unsentAcks.clear()
  }

  #delivery(pending: PendingMessage): Delivery {
    const { id, key, headers, body, attemptsStarted, settledHandlers, replayTarget } = pending
    const message: IncomingMessage = { id, key, headers, body }
    const isHeld = () => this.#broker.holds(this.#group, id, this.#consumer)
    return {
      message,
      deliveryCount: attemptsStarted + 1,
      settledHandlers,
      replayTarget,
      begin: () => {
        if (!isHeld()) return false
        if (attemptsStarted === 0) this.#attemptStarted(pending, 1)
        return true
      },
      beginAttempt: (attempt, settled) => {
        if (!isHeld()) return Promise.resolve(false)
        this.#attemptStarted(pending, attempt)
        pending.settledHandlers = settled
        return Promise.resolve(true)
      },
      attemptFailed: (_attempt, settled) => {
        if (!isHeld()) return Promise.resolve(false)
        this.#inAttempt.delete(pending)
        pending.settledHandlers = settled
        return Promise.resolve(true)
      },
      ack: () => {
        this.#inAttempt.delete(pending)
        this.#ack(id)
      },
      deadLetter: (reason) => {
        this.#inAttempt.delete(pending)
        return this.#deadLetter(id, reason)
      },
      postpone: (wait) => this.#reached((broker, group) => broker.postpone(group, id, wait)),
      waitBehind: (handlerName) =>
        this.#reached((broker, group) => broker.waitBehind(group, id, handlerName)),
      passOn: () =>
        this.#reached(
          (broker, group) => replayTarget === undefined || broker.passOn(group, id, replayTarget),
        ),
    }
  }

  #attemptStarted(pending: PendingMessage, attempt: number): void {
    pending.attemptsStarted = attempt
    this.#inAttempt.add(pending)
  }

  #ack(id: string): void {
    if (this.#isReleased || this.#broker.losesAcks) return
    if (this.#broker.isDown) this.#unsentAcks.add(id)
    else this.#broker.settle(this.#group, id)
  }

  #reached<T>(work: (broker: MemoryBroker, group: string) => T): Promise<T> {
    return this.#broker.isDown ? unreachable() : Promise.resolve(work(this.#broker, this.#group))
  }

  #deadLetter(id: string, reason: DeadLetterReason): Promise<boolean> {
    if (this.#broker.isDown || this.#broker.refusesDeadLetters) {
      return Promise.reject(new ConnectionError('CONNECTION_FAILED', 'Dead letters cannot be stored now.'))
    }
    this.#broker.deadLetter(this.#group, id, reason)
    return Promise.resolve(true)
  }
}

function waitingOf(broker: MemoryBroker, group: string): WaitingStore {
  return {
    prepare: () => Promise.resolve(),
    release: () => (broker.isDown ? unreachable() : Promise.resolve(broker.release(group))),
    count: () => Promise.resolve(broker.waitingCount(group)),
  }
}

function unreachable(): Promise<never> {
  return Promise.reject(new ConnectionError('CONNECTION_FAILED', 'The memory broker is down.'))
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

function deadLettersOf(broker: MemoryBroker): DeadLetterStore {
  const find = (id: string) => broker.deadLetters().find((letter) => letter.id === id)
  return {
    list: (limit, cursor) => {
      const all = broker.deadLetters()
      const start = cursor === undefined ? 0 : all.findIndex(({ id }) => id === cursor) + 1
      const letters = all.slice(start, start + limit)
      const isMore = start + limit < all.length
      return Promise.resolve({ letters, cursor: isMore ? letters.at(-1)?.id : undefined })
    },
    get: (id) => Promise.resolve(find(id)),
    count: (group) => {
      const isCounted = ({ reason }: StoredDeadLetter) => (reason.consumerGroup ?? group) === group
      return Promise.resolve(broker.deadLetters().filter((it) => group === undefined || isCounted(it)).length)
    },
    replay: (id, request) => Promise.resolve(broker.replay(id, request)),
    remove: (ids) => Promise.resolve(ids.filter((id) => broker.removeDeadLetter(id)).length),
  }
}
