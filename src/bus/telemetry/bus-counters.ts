/** Counters of a broker bus since its creation. Each counts an event at most once. */
export interface BrokerEventBusStats {
  /** Events that the broker confirmed. */
  readonly eventsPublished: number
  /** Deliveries that the bus has taken for handling: `eventsProcessedSuccess + eventsProcessedFailed + inFlight`. */
  readonly eventsConsumed: number
  /** Events that every handler handled successfully. */
  readonly eventsProcessedSuccess: number
  /** Events that were dead-lettered, or dropped if the dead letter queue is off. */
  readonly eventsProcessedFailed: number
  /** Messages of a type without a subscription: acknowledged without decoding. */
  readonly eventsSkipped: number
  /** Retries, that is, attempts after a failed one. */
  readonly eventsRetried: number
  readonly messagesSentToDlq: number
  /** Events that a handler discarded, once for each such handler. */
  readonly eventsDiscarded: number
  /** Events that were stored for a long wait, once for each wait of a handler. */
  readonly eventsPostponed: number
  /** Messages taken over from consumers that crashed or stopped. */
  readonly messagesRecovered: number
  /** Runs of a handler that failed. */
  readonly handlerErrors: number
  /** Background publishes that failed. */
  readonly backgroundPublishErrors: number
  readonly reconnections: number
  /** Messages that the bus holds now: waiting, being handled, or between two attempts. */
  readonly inFlight: number
  readonly lastPublishAt: Date | null
  readonly lastConsumeAt: Date | null
  readonly lastErrorAt: Date | null
  /** Time of the current connection; null while there is none. */
  readonly connectedAt: Date | null
}

/** Name and message of an error. */
interface FailureText {
  readonly errorName: string
  readonly errorMessage: string
}

/** The counters behind {@link BrokerEventBusStats}. */
export class BusCounters {
  eventsPublished = 0
  eventsConsumed = 0
  eventsProcessedSuccess = 0
  eventsProcessedFailed = 0
  eventsSkipped = 0
  eventsRetried = 0
  messagesSentToDlq = 0
  eventsDiscarded = 0
  eventsPostponed = 0
  messagesRecovered = 0
  handlerErrors = 0
  reconnections = 0
  inFlight = 0
  lastPublishAt = 0
  lastConsumeAt = 0
  lastErrorAt = 0
  connectedAt = 0
  /** Why the broker does not accept publishes; undefined while it does. */
  blockedReason: string | undefined
  /** Names of the handlers that pause for an outage. */
  readonly pausedHandlers = new Set<string>()
  /** Lines of waiting events that were long when an event joined them, by handler and aggregate. */
  readonly longLines = new Map<string, { readonly handlerName: string; readonly seenAt: number }>()
  #lastFailure: Error | FailureText | undefined

  /** Records the time and the error of a failure. */
  failed(failure: Error | FailureText): void {
    this.lastErrorAt = Date.now()
    this.#lastFailure = failure
  }

  /** The error of `lastErrorAt`. It is created here, because a stack takes longer than the rest of a dead letter. */
  get lastError(): Error | undefined {
    const failure = this.#lastFailure
    if (failure === undefined || failure instanceof Error) return failure
    return Object.assign(new Error(failure.errorMessage), { name: failure.errorName })
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
      eventsDiscarded: this.eventsDiscarded,
      eventsPostponed: this.eventsPostponed,
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
