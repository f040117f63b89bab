import type { NewerEvent } from '../../codec/decode-error.ts'
import { typeHeaderOf } from '../../codec/event-codec.ts'
import type { EventCodec } from '../../codec/index.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import type { Logger } from '../../observability/logger.ts'
import type { DeadLetterReason, Delivery, IncomingMessage } from '../../transport/transport.ts'
import type { UnhandledEvents } from '../broker-options.ts'
import { noHandler } from './dead-letter-reasons.ts'
import type { GroupTypes } from './group-types.ts'
import type { HandlingSlots } from './handling-slots.ts'
import { hasPlace } from './order-places.ts'

/** Interval at which a kept message asks whether the group still handles its type, in milliseconds. */
const ASK_AGAIN_MS = 30_000
/** Maximum number of event types that are logged: any producer can invent types. */
const MAX_REPORTED = 100

export interface UnhandledMessagesParts {
  readonly consumerGroup: string
  readonly deadLetterStacks: boolean
  readonly unhandledEvents: UnhandledEvents
  readonly handoverTimeoutMs: number
  readonly groupTypes: GroupTypes
  readonly handlers: HandlerRegistry
  readonly codec: EventCodec
  readonly slots: HandlingSlots
  /** Aborts when no further handler may start. */
  readonly stopping: AbortSignal
  readonly logger: Logger
}

/**
 * True if a handler has failed at the message and waited, or if others wait behind it. If that handler is gone, the message
 * must not be skipped.
 */
export function hasWaited(delivery: Delivery): boolean {
  return delivery.replayTarget?.earlier !== undefined || hasPlace(delivery)
}

/** What to do with a message: acknowledge it, handle it after all, leave it to be redelivered, or dead-letter it. */
export type UnhandledOutcome = 'skip' | 'handle' | 'leave' | DeadLetterReason

interface KeptMessage {
  readonly why: 'this one has no handler' | 'this one cannot read its version'
  readonly eventType: string
  /** Whether another member of the group handles it. */
  readonly isForOthers: () => Promise<boolean>
  /** Whether this process handles it after all. */
  readonly isForThis: () => boolean
}

/** Why a message is kept no longer. */
type KeepingEnd = 'isStopped' | 'isForThis' | 'isForNobody' | 'isLate'

/**
 * Decides on messages that no handler of this process is subscribed to, or that it cannot read. Another member of the
 * group may: a newer release during a deploy, for example. Its messages are kept, and redelivered to it when this
 * consumer stops.
 */
export class UnhandledMessages {
  readonly #parts: UnhandledMessagesParts
  /** The types of deliveries that are known to have no handler before they are decoded. */
  readonly #types = new Map<Delivery, string>()
  readonly #reported = new Set<string>()

  constructor(parts: UnhandledMessagesParts) {
    this.#parts = parts
  }

  /** @returns true if the delivery can be skipped at once. Otherwise its lane waits for {@link outcomeOf}. */
  maySkip(delivery: Delivery): boolean {
    const eventType = this.#unsubscribedType(delivery.message)
    if (eventType === undefined) return false
    const { unhandledEvents, groupTypes } = this.#parts
    const maySkip = unhandledEvents === 'skip' && !hasWaited(delivery)
    if (maySkip && (!this.#keeps || groupTypes.isUnhandled(eventType))) return true
    this.#types.set(delivery, eventType)
    return false
  }

  /** The type of a delivery that {@link maySkip} has found to have no handler; undefined for all others. */
  takeType(delivery: Delivery): string | undefined {
    if (this.#types.size === 0) return undefined
    const eventType = this.#types.get(delivery)
    this.#types.delete(delivery)
    return eventType
  }

  /** Keeps a message while another member handles its type, for at most `handoverTimeoutMs`. Never rejects. */
  async outcomeOf(eventType: string): Promise<UnhandledOutcome> {
    const { handoverTimeoutMs, groupTypes, stopping, handlers, unhandledEvents } = this.#parts
    const end = await this.#keep({
      why: 'this one has no handler',
      eventType,
      isForOthers: () => groupTypes.isHandled(eventType, stopping),
      isForThis: () => handlers.handlersFor(eventType).length > 0,
    })
    if (end === 'isStopped') return 'leave'
    if (end === 'isForThis') return 'handle'
    if (end === 'isForNobody' && unhandledEvents === 'skip') return 'skip'
    return noHandler(this.#parts, eventType, end === 'isLate' ? handoverTimeoutMs : undefined)
  }

  /**
   * Keeps an event that this process cannot decode while another member can, for at most `handoverTimeoutMs`.
   * Never rejects. @returns false if the pipeline stops, so that the event is redelivered; true if nobody can read it.
   */
  async isUnreadable(event: NewerEvent): Promise<boolean> {
    const { groupTypes, stopping } = this.#parts
    const end = await this.#keep({
      why: 'this one cannot read its version',
      eventType: event.eventType,
      isForOthers: () => groupTypes.isReadable(event, stopping),
      isForThis: () => false,
    })
    return end !== 'isStopped'
  }

  async #keep({ why, eventType, isForOthers, isForThis }: KeptMessage): Promise<KeepingEnd> {
    const { handoverTimeoutMs, stopping, slots } = this.#parts
    const keptSince = performance.now()
    const leftMs = () => handoverTimeoutMs - (performance.now() - keptSince)
    let wasKept = false
    while (this.#keeps && leftMs() > 0 && (await isForOthers())) {
      wasKept = true
      this.#report(eventType, why)
      if (!(await slots.pause(Math.ceil(Math.min(ASK_AGAIN_MS, leftMs()))))) return 'isStopped'
      if (isForThis()) return 'isForThis'
    }
    if (stopping.aborted) return 'isStopped'
    return wasKept ? 'isLate' : 'isForNobody'
  }

  get #keeps(): boolean {
    return this.#parts.handoverTimeoutMs > 0
  }

  /**
   * The type of a message if no handler is subscribed to it. The header gives the type without decoding, but the body
   * determines it. A message whose body has, or may have, another type is therefore decoded, and rejected because of its
   * header.
   */
  #unsubscribedType(message: IncomingMessage): string | undefined {
    const { handlers, codec } = this.#parts
    const headerType = typeHeaderOf(message)
    if (
      headerType === undefined ||
      message.fault !== undefined ||
      handlers.handlersFor(headerType).length > 0
    )
      return undefined
    return codec.canOnlyBe?.(message, headerType) === true ? headerType : undefined
  }

  #report(eventType: string, why: KeptMessage['why']): void {
    const report = `${eventType}\n${why}`
    if (this.#reported.has(report) || this.#reported.size >= MAX_REPORTED) return
    this.#reported.add(report)
    const { consumerGroup, handoverTimeoutMs, logger } = this.#parts
    logger.warn(`events kept for another member of the consumer group, because ${why}`, {
      eventType,
      consumerGroup,
      handoverTimeoutMs,
    })
  }
}
