import type { EncodedMessage, EventCodec } from '../../codec/index.ts'
import { type DomainEvent, type EventClass, GenericEvent } from '../../events/index.ts'
import type { StoredDeadLetter } from '../../transport/transport.ts'
import type { DeadLetter } from './dead-letter.ts'
import type { DeadLetterFilter } from './dead-letter-filter.ts'
import { errorSignature } from './error-signature.ts'

/** Reads dead letters as a store has them. */
export class LetterReader {
  readonly #codec: EventCodec
  readonly #classFor: (eventType: string) => EventClass | undefined

  constructor(codec: EventCodec, classFor: (eventType: string) => EventClass | undefined) {
    this.#codec = codec
    this.#classFor = classFor
  }

  describe(stored: StoredDeadLetter): DeadLetter {
    const { id, message, reason, source, replayCount = 0, lastReplayedAt } = stored
    const event = this.#decode(stored)
    const { headers, body } = message
    return {
      id,
      eventId: event?.eventId ?? headers['event_id'],
      eventType: event?.eventType ?? headers['event_type'],
      aggregateId: event?.aggregateId ?? headers['aggregate_id'],
      headers,
      body: typeof body === 'string' ? Buffer.from(body) : body,
      event,
      reason: reason.kind,
      errorName: reason.errorName,
      errorMessage: reason.errorMessage,
      errorStack: reason.errorStack,
      errorSignature: signatureOf(stored),
      handlerNames: reason.handlerNames,
      parkedFor: reason.parkedFor,
      settledHandlers: reason.settledHandlers,
      consumerGroup: reason.consumerGroup,
      attempts: reason.attempts,
      firstFailedAt: reason.firstFailedAt,
      lastFailedAt: reason.failedAt,
      replayCount,
      lastReplayedAt,
      source,
    }
  }

  storedEvent(message: EncodedMessage): GenericEvent | undefined {
    try {
      const event = this.#codec.decode(message, () => undefined)
      return event instanceof GenericEvent ? event : undefined
    } catch {
      return undefined // as in #decode
    }
  }

  /** The type of the event. Decodes the body only if no header names a type that is known here. */
  eventTypeOf(stored: StoredDeadLetter): string | undefined {
    const named = stored.message.headers['event_type']
    const known = named === undefined ? undefined : this.#classFor(named)
    return known?.eventType ?? this.#decode(stored)?.eventType ?? named
  }

  /** True if the dead letter matches every field of the filter. Decodes the body only if that is necessary. */
  matches(stored: StoredDeadLetter, filter: DeadLetterFilter): boolean {
    const { reason, message, replayCount = 0 } = stored
    const { headers } = message
    return (
      isWanted(filter.consumerGroup, reason.consumerGroup) &&
      isWanted(filter.reason, reason.kind) &&
      isWanted(filter.errorName, reason.errorName) &&
      (filter.handlerName === undefined || (reason.handlerNames?.includes(filter.handlerName) ?? false)) &&
      (filter.errorMessage === undefined || (reason.errorMessage?.includes(filter.errorMessage) ?? false)) &&
      (filter.errorSignature === undefined || signatureOf(stored) === filter.errorSignature) &&
      replayCount >= (filter.minReplays ?? 0) &&
      replayCount <= (filter.maxReplays ?? Number.POSITIVE_INFINITY) &&
      isWithin(reason.failedAt, filter) &&
      (filter.eventId === undefined ||
        filter.eventId === (headers['event_id'] ?? this.#decode(stored)?.eventId)) &&
      (filter.aggregateId === undefined ||
        filter.aggregateId === (headers['aggregate_id'] ?? this.#decode(stored)?.aggregateId)) &&
      (filter.eventType === undefined || filter.eventType === this.eventTypeOf(stored))
    )
  }

  #decode({ message }: StoredDeadLetter): DomainEvent | undefined {
    try {
      return this.#codec.decode(message, this.#classFor)
    } catch {
      // A message that cannot be decoded is dead-lettered, so this is not an error. The result has the body.
      return undefined
    }
  }
}

export function signatureOf({ reason }: Pick<StoredDeadLetter, 'reason'>): string | undefined {
  const { errorName, errorMessage, errorStack } = reason
  return errorSignature({ errorName, errorMessage, errorStack })
}

function isWanted<T>(wanted: T | undefined, value: T | undefined): boolean {
  return wanted === undefined || wanted === value
}

function isWithin(failedAt: Date | undefined, { failedBefore, failedSince }: DeadLetterFilter): boolean {
  if (failedBefore === undefined && failedSince === undefined) return true
  if (failedAt === undefined) return false
  return (
    (failedBefore === undefined || failedAt < failedBefore) &&
    (failedSince === undefined || failedAt >= failedSince)
  )
}
