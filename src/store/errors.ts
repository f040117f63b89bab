import { EventspineError, shorten } from '../errors.ts'
import type { ExpectedVersion, StreamName } from './event-store.ts'

/** Longest id or type of a stored event in a message, in characters. */
const SHOWN = 100

/** The stream is not at the expected version, because another writer changed it. Nothing was written. */
export class OptimisticLockError extends EventspineError {
  static override readonly name = 'OptimisticLockError'
  readonly code = 'OPTIMISTIC_LOCK'
  readonly aggregateId: string
  readonly aggregateType: string
  readonly expectedVersion: ExpectedVersion
  readonly actualVersion: number

  constructor(stream: StreamName, expectedVersion: ExpectedVersion, actualVersion: number) {
    super(
      `${streamText(stream)} is at version ${actualVersion}, expected ${EXPECTATIONS[String(expectedVersion)] ?? `version ${expectedVersion}`}. ` +
        'Load it again and retry.',
    )
    this.aggregateId = stream.aggregateId
    this.aggregateType = stream.aggregateType
    this.expectedVersion = expectedVersion
    this.actualVersion = actualVersion
  }
}

const EXPECTATIONS: Readonly<Record<string, string>> = { noStream: 'no stream', streamExists: 'a stream' }

/** The store has another event with this id. Nothing was written. */
export class DuplicateEventError extends EventspineError {
  static override readonly name = 'DuplicateEventError'
  readonly code = 'EVENT_ID_DUPLICATE'
  readonly eventId: string

  constructor(eventId: string, detail: string) {
    super(`The event id ${eventId} ${detail}. Give each event a unique id.`)
    this.eventId = eventId
  }
}

/** An event does not belong to the aggregate of the stream that it was read from or should be written to. */
export class EventStreamMismatchError extends EventspineError {
  static override readonly name = 'EventStreamMismatchError'
  readonly code = 'EVENT_STREAM_MISMATCH'
  readonly eventId: string

  constructor(
    event: StreamName & { readonly eventId: string; readonly eventType: string },
    stream: StreamName,
  ) {
    super(
      `The ${event.eventType} ${event.eventId} belongs to ${streamText(event)}, not to ${streamText(stream)}.`,
    )
    this.eventId = event.eventId
  }
}

/** Aggregates of several types have this id, so the id alone does not identify a stream. */
export class AmbiguousStreamError extends EventspineError {
  static override readonly name = 'AmbiguousStreamError'
  readonly code = 'STREAM_AMBIGUOUS'
  readonly aggregateId: string
  readonly aggregateTypes: readonly string[]

  constructor(aggregateId: string, aggregateTypes: readonly string[]) {
    super(
      `${aggregateId} is the id of several aggregates (${aggregateTypes.join(', ')}): pass the aggregateType.`,
    )
    this.aggregateId = aggregateId
    this.aggregateTypes = aggregateTypes
  }
}

/** The stream was deleted and accepts no further event. Nothing was written. */
export class StreamDeletedError extends EventspineError {
  static override readonly name = 'StreamDeletedError'
  readonly code = 'STREAM_DELETED'
  readonly aggregateId: string
  readonly aggregateType: string

  constructor(stream: StreamName) {
    super(`${streamText(stream)} was deleted. Use another aggregate id.`)
    this.aggregateId = stream.aggregateId
    this.aggregateType = stream.aggregateType
  }
}

/** A stored event cannot be decoded, because its class refuses the payload, or because its row was changed by hand. */
export class StoredEventError extends EventspineError {
  static override readonly name = 'StoredEventError'
  readonly code = 'STORED_EVENT_INVALID'
  readonly eventId: string
  readonly position: number
  /** False if the row itself cannot be read, because it was changed by hand: its payload is no JSON object, for instance. */
  readonly isReadable: boolean

  constructor(
    event: { readonly eventId: string; readonly eventType: string },
    position: number,
    cause: Error,
    isReadable = true,
  ) {
    const name = `${shorten(event.eventType, SHOWN)} ${shorten(event.eventId, SHOWN)}`
    const remedy = isReadable
      ? 'Change its class so that it accepts the stored payload.'
      : 'Correct the row in the store.'
    super(`The stored ${name} at position ${position} cannot be decoded: ${cause.message} ${remedy}`, {
      cause,
    })
    this.eventId = event.eventId
    this.position = position
    this.isReadable = isReadable
  }
}

/** The store does not answer. The call has certainly written nothing. */
export class StoreUnavailableError extends EventspineError {
  static override readonly name = 'StoreUnavailableError'
  readonly code = 'STORE_UNAVAILABLE'
  override readonly retryable = true

  constructor(store: string, detail: string, options?: ErrorOptions) {
    super(`${store} is not available: ${detail}`, options)
  }
}

/**
 * The response to a write was lost, so it is unknown whether the write is stored. Repeat the append: the store
 * recognizes events that are already stored.
 */
export class StoreOutcomeUnknownError extends EventspineError {
  static override readonly name = 'StoreOutcomeUnknownError'
  readonly code = 'STORE_OUTCOME_UNKNOWN'
  override readonly retryable = true

  constructor(store: string, options?: ErrorOptions) {
    super(
      `${store} did not confirm the write, which may be stored. Repeat the same call: the store recognizes an append that is already stored.`,
      options,
    )
  }
}

/** The schema of the store does not match this release. */
export class StoreSchemaError extends EventspineError {
  static override readonly name = 'StoreSchemaError'
  readonly code = 'STORE_SCHEMA'
  /** Version of the schema in the store; 0 if it has none. */
  readonly found: number
  /** Version of the schema that this release needs. */
  readonly needed: number

  constructor(store: string, found: number, needed: number, remedy: string) {
    super(`${store} has schema version ${found}, this release of eventspine needs ${needed}. ${remedy}`)
    this.found = found
    this.needed = needed
  }
}

/** A method was called after `close`. */
export class StoreClosedError extends EventspineError {
  static override readonly name = 'StoreClosedError'
  readonly code = 'STORE_CLOSED'

  constructor(store: string) {
    super(`${store} is closed. Create a new store object.`)
  }
}

/** The disk or the quota of the store is full. Nothing was written. The store works again when there is space. */
export class StoreFullError extends EventspineError {
  static override readonly name = 'StoreFullError'
  readonly code = 'STORE_FULL'
  override readonly retryable = true

  constructor(store: string, options?: ErrorOptions) {
    super(`${store} is full: nothing was written. Free disk space and repeat the call.`, options)
  }
}

/** The store does not accept writes. */
export class StoreReadOnlyError extends EventspineError {
  static override readonly name = 'StoreReadOnlyError'
  readonly code = 'STORE_READ_ONLY'
  override readonly retryable: boolean

  /** @param isRetryable - true if another server may take over, as in a failover. */
  constructor(store: string, detail: string, isRetryable: boolean, options?: ErrorOptions) {
    super(`${store} is read-only: ${detail}`, options)
    this.retryable = isRetryable
  }
}

/**
 * A call inside `stores.transaction` used the stores instead of the transaction, so it would wait for its own
 * transaction.
 */
export class TransactionBypassError extends EventspineError {
  static override readonly name = 'TransactionBypassError'
  readonly code = 'TRANSACTION_BYPASSED'

  constructor(operation: string) {
    super(
      `${operation} was called on the stores inside stores.transaction, so it would wait for that transaction. ` +
        'Call it on the transaction: tx.events, tx.checkpoints and so on.',
    )
  }
}

/**
 * A call needs a transaction, but received a pool, or a connection without an open transaction. Nothing was written.
 */
export class TransactionRequiredError extends EventspineError {
  static override readonly name = 'TransactionRequiredError'
  readonly code = 'TRANSACTION_REQUIRED'

  constructor(operation: string, given: string) {
    super(
      `${operation} needs an open transaction, got ${given}: each statement would be committed on its own. ` +
        'Use stores.transaction, or begin a transaction on one connection and pass that connection to stores.within.',
    )
  }
}

function streamText({ aggregateType, aggregateId }: StreamName): string {
  return `${aggregateType} ${aggregateId}`
}
