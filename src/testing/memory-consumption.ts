import { randomUUID } from 'node:crypto'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import type {
  Consumption,
  DeadLetterReason,
  Delivery,
  IncomingMessage,
  Intake,
  TransportHost,
} from '../transport/index.ts'
import { ConnectionError, placesOf } from '../transport/index.ts'
import type { MemoryBroker } from './memory-broker.ts'
import type { PendingMessage } from './memory-message.ts'

/** Number of deliveries after which the loop yields to the event loop. */
const DELIVERIES_PER_TURN = 64

/** The consumer of one bus in its group. */
export class MemoryConsumption implements Consumption {
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
      waitBehind: (handlerName, limit) =>
        this.#reached((broker, group) => broker.waitBehind(group, id, handlerName, limit)),
      passOn: (except = []) => {
        const places = [...placesOf(replayTarget)].filter(([name]) => !except.includes(name))
        return this.#reached((broker, group) => broker.passOn(group, id, new Map(places)))
      },
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

/** The rejection of a call while the broker is down. */
export function unreachable(): Promise<never> {
  return Promise.reject(new ConnectionError('CONNECTION_FAILED', 'The memory broker is down.'))
}
