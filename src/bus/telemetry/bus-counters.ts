/** Counts of a broker bus since it was made. One event is counted once in each. */
export interface BrokerEventBusStats {
  /** Events that the broker confirmed. */
  readonly eventsPublished: number
  /** Deliveries taken on for handling: `eventsProcessedSuccess + eventsProcessedFailed + inFlight`. */
  readonly eventsConsumed: number
  /** Events that every handler has handled. */
  readonly eventsProcessedSuccess: number
  /** Events given up: dead-lettered, or dropped where the dead letter queue is off. */
  readonly eventsProcessedFailed: number
  /** Messages of a type that nobody here subscribed to: acknowledged without decoding. */
  readonly eventsSkipped: number
  /** Attempts after a failed one. */
  readonly eventsRetried: number
  readonly messagesSentToDlq: number
  /** Messages taken over from a consumer that died or stopped. */
  readonly messagesRecovered: number
  /** Runs of a handler that failed. */
  readonly handlerErrors: number
  /** Background publishes that failed. */
  readonly backgroundPublishErrors: number
  readonly reconnections: number
  /** Messages held now: waiting, running or between two attempts. */
  readonly inFlight: number
  readonly lastPublishAt: Date | null
  readonly lastConsumeAt: Date | null
  readonly lastErrorAt: Date | null
  /** When the present connection was made; null while there is none. */
  readonly connectedAt: Date | null
}

/** The counters behind {@link BrokerEventBusStats}, one owner for each. */
export class BusCounters {
  eventsPublished = 0
  eventsConsumed = 0
  eventsProcessedSuccess = 0
  eventsProcessedFailed = 0
  eventsSkipped = 0
  eventsRetried = 0
  messagesSentToDlq = 0
  messagesRecovered = 0
  handlerErrors = 0
  reconnections = 0
  inFlight = 0
  lastPublishAt = 0
  lastConsumeAt = 0
  lastErrorAt = 0
  connectedAt = 0
  /** Why the broker takes no publishes at present, if so. */
  blockedReason: string | undefined
  /** The error of `lastErrorAt`. */
  lastError: Error | undefined

  /** Something failed now. */
  failed(error: Error): void {
    this.lastErrorAt = Date.now()
    this.lastError = error
  }

  snapshot(backgroundPublishErrors: number): BrokerEventBusStats {
    return {
      eventsPublished: this.eventsPublished,
      eventsConsumed: this.eventsConsumed,
      eventsProcessedSuccess: this.eventsProcessedSuccess,
      eventsProcessedFailed: this.eventsProcessedFailed,
      eventsSkipped: this.eventsSkipped,
      eventsRetried: this.eventsRetried,
      messagesSentToDlq: this.messagesSentToDlq,
      messagesRecovered: this.messagesRecovered,
      handlerErrors: this.handlerErrors,
      backgroundPublishErrors,
      reconnections: this.reconnections,
      inFlight: this.inFlight,
      lastPublishAt: timeOf(this.lastPublishAt),
      lastConsumeAt: timeOf(this.lastConsumeAt),
      lastErrorAt: timeOf(this.lastErrorAt),
      connectedAt: timeOf(this.connectedAt),
    }
  }
}

export function timeOf(ms: number): Date | null {
  return ms === 0 ? null : new Date(ms)
}
