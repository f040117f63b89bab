import type { DomainEvent } from '../events/index.ts'

/** An event that an operator found in a log or a store. Fields that cannot be read are undefined. */
export interface BrowsedEvent {
  /** Pass it as `from` to continue after this event, in the same direction. */
  readonly position: string
  /** The partition, if there are several. */
  readonly partition: number | undefined
  /** When the broker or the store got the event; undefined on RabbitMQ. */
  readonly storedAt: Date | undefined
  readonly eventId: string | undefined
  readonly eventType: string | undefined
  readonly aggregateId: string | undefined
  readonly aggregateType: string | undefined
  readonly correlationId: string | undefined
  readonly causationId: string | undefined
  readonly tenantId: string | undefined
  readonly occurredAt: Date | undefined
  /** The headers of the message; empty in a store. */
  readonly headers: Readonly<Record<string, string>>
  /** The body of the message; in a store, the event as JSON. */
  readonly body: Uint8Array
  /** The event, decoded on access; a `GenericEvent` if its type is unknown here, undefined if it cannot be decoded. */
  readonly event: DomainEvent | undefined
}
