import type { EventCodec } from '../../codec/index.ts'
import type { Dispatcher } from '../../handling/dispatcher.ts'
import { ShutdownError } from '../../handling/errors.ts'
import type { FailurePolicies } from '../../handling/failure-policy.ts'
import { type HandlerLimit, takeAll } from '../../handling/handler-limit.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import { IdleCounter } from '../../kit/idle-counter.ts'
import { Lanes } from '../../kit/lanes.ts'
import { type Sleep, settledUntil } from '../../kit/time.ts'
import type { Logger } from '../../observability/logger.ts'
import type { EventTracer } from '../../observability/tracer.ts'
import type { Delivery, Intake } from '../../transport/transport.ts'
import type { NewerVersions, UnhandledEvents } from '../broker-options.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'
import type { BusMetrics } from '../telemetry/bus-metrics.ts'
import type { MessagingTarget } from '../telemetry/bus-spans.ts'
import { DeliveryHandler, MAX_KEY } from './delivery-handler.ts'
import type { GroupTypes } from './group-types.ts'
import { HandlingSlots } from './handling-slots.ts'
import { HeldDeliveries } from './held-deliveries.ts'
import type { LineWatch } from './line-watch.ts'
import { Settling } from './settling.ts'
import { UnhandledMessages } from './unhandled-messages.ts'
import type { UnrecordedSuccesses } from './unrecorded-successes.ts'

export interface PipelineParts {
  readonly target: MessagingTarget
  readonly consumerGroup: string
  readonly maxInFlight: number
  readonly maxInFlightBytes: number
  readonly concurrency: number
  readonly enableDlq: boolean
  readonly deadLetterStacks: boolean
  readonly policies: FailurePolicies
  readonly handlers: HandlerRegistry
  readonly dispatcher: Dispatcher
  readonly codec: EventCodec
  readonly newerVersions: NewerVersions
  readonly unhandledEvents: UnhandledEvents
  readonly handoverTimeoutMs: number
  readonly groupTypes: GroupTypes
  readonly unrecorded: UnrecordedSuccesses
  readonly counters: BusCounters
  readonly metrics: BusMetrics
  readonly tracer: EventTracer
  readonly logger: Logger
  /** Called when a message was stored for a long wait. */
  readonly onPostponed?: (delayMs: number) => void
  readonly lines: LineWatch
  readonly sleep?: Sleep
}

/**
 * Takes deliveries and has them handled; deliveries with the same key are handled one after the other. A retry holds
 * back only its own lane, and a delivery occupies one of the `concurrency` slots only while its handlers run.
 * Deliveries that are not settled when the pipeline stops are left to be redelivered.
 */
export class ConsumerPipeline implements Intake {
  readonly #handlers: HandlerRegistry
  readonly #unhandled: UnhandledMessages
  readonly #held: HeldDeliveries
  readonly #slots: HandlingSlots
  readonly #settling: Settling
  readonly #handler: DeliveryHandler
  readonly #lanes: Lanes<Delivery>
  readonly #stopping = new AbortController()
  readonly #abandoned = new AbortController()
  /** Deliveries whose handling is asynchronous and has not ended. */
  readonly #running = new IdleCounter()

  constructor(parts: PipelineParts) {
    const signals = { stopping: this.#stopping.signal, abandoned: this.#abandoned.signal }
    const slots = new HandlingSlots(parts.concurrency, signals.stopping, parts.sleep)
    this.#slots = slots
    this.#handlers = parts.handlers
    this.#unhandled = new UnhandledMessages({ ...parts, slots, stopping: signals.stopping })
    this.#held = new HeldDeliveries(parts.maxInFlight, parts.maxInFlightBytes, parts.counters)
    const { onPostponed = () => undefined } = parts
    this.#settling = new Settling({ ...parts, ...signals, slots, held: this.#held, onPostponed })
    this.#handler = new DeliveryHandler({
      ...parts,
      ...signals,
      slots,
      held: this.#held,
      settling: this.#settling,
      unhandled: this.#unhandled,
      handleSubscribed: (delivery) => this.#work(delivery),
    })
    this.#lanes = new Lanes(slots.slots, signals.stopping, (delivery) => this.#work(delivery))
  }

  /** When the longest-held delivery was taken, by the monotonic clock; undefined if none is held. */
  get oldestTakenAt(): number | undefined {
    return this.#held.oldestTakenAt
  }

  /** Number of deliveries whose handlers run. */
  get running(): number {
    return this.#slots.slots.inUse
  }

  get room(): number {
    return this.#held.room
  }

  get roomBytes(): number {
    return this.#held.roomBytes
  }

  whenRoom(): Promise<void> {
    return this.#held.whenRoom()
  }

  deliver(delivery: Delivery): void {
    if (this.#stopping.signal.aborted) return
    const { key, id } = delivery.message
    if (this.#unhandled.maySkip(delivery)) {
      this.#settling.skip(delivery)
      return
    }
    this.#held.take(delivery)
    // A message without a key has no order to keep, so it gets its own lane. A message that will be rejected gets its
    // own lane, too.
    this.#lanes.push(key === undefined || key.length > MAX_KEY ? `\0${id}` : key, delivery)
  }

  /** Starts no further handler and has no room until `unhold`. The deliveries that it holds stay. */
  hold(): void {
    this.#slots.slots.hold()
    this.#held.hold()
  }

  unhold(): void {
    this.#slots.slots.unhold()
    this.#held.unhold()
  }

  /** Takes no further delivery and starts no further handler. */
  stopTaking(): void {
    this.#stopping.abort()
    this.#held.close()
    // What waits for a slot sees that the pipeline stops.
    this.#slots.slots.unhold()
  }

  /**
   * Waits for the running handlers until the signal aborts, then aborts their signals.
   * @returns the number of deliveries that were still being handled then.
   */
  async drain(signal: AbortSignal): Promise<number> {
    const isIdle = this.#running.count === 0 || (await settledUntil(this.#running.whenIdle(), signal))
    if (!isIdle) this.#abandoned.abort(new ShutdownError())
    this.#held.release()
    return this.#running.count
  }

  #work(delivery: Delivery): Promise<unknown> | undefined {
    const limits = this.#handlers.hasLimits ? this.#handler.limitsOf(delivery) : undefined
    if (limits !== undefined && limits.length > 0) return this.#workLimited(delivery, limits)
    return this.#handle(delivery)
  }

  /**
   * Waits for the limits of the handlers, without a slot and before the delivery starts: after a crash, only attempts
   * that had started count. @returns false, with the delivery not begun, if the pipeline stops first.
   */
  async #workLimited(delivery: Delivery, limits: readonly HandlerLimit[]): Promise<boolean> {
    const { slots } = this.#slots
    slots.release()
    const release = await takeAll(limits, this.#stopping.signal)
    await slots.taken()
    if (release === undefined) return false
    try {
      if (this.#stopping.signal.aborted) return false
      await this.#handle(delivery, release)
      return true
    } finally {
      release()
    }
  }

  #handle(delivery: Delivery, onAttempted?: () => void): Promise<void> | undefined {
    const handling = this.#handler.handle(delivery, onAttempted)
    return handling === undefined ? undefined : this.#running.track(handling)
  }
}
