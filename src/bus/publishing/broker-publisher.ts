import type { EventCodec } from '../../codec/index.ts'
import { toError } from '../../errors.ts'
import type { Cause } from '../../events/causation.ts'
import { withCauseUnlessSet } from '../../events/domain-event.ts'
import type { DomainEvent } from '../../events/index.ts'
import { START_BACKOFF } from '../../kit/backoff.ts'
import { IdleCounter } from '../../kit/idle-counter.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { settledUntil } from '../../kit/time.ts'
import type { EventTracer, SpanKindOf } from '../../observability/tracer.ts'
import { ConnectionError, PublishTimeoutError } from '../../transport/errors.ts'
import type { OutgoingMessage, PublishFailure, Transport } from '../../transport/transport.ts'
import { PublishError } from '../errors.ts'
import type { FirstConnection } from '../first-connection.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'
import type { BusMetrics } from '../telemetry/bus-metrics.ts'
import { publishSpanOf } from '../telemetry/bus-spans.ts'
import { type PublishDeadline, PublishDeadlines } from './publish-deadlines.ts'
import { PublishQueue, type PublishRequest } from './publish-queue.ts'

export interface BrokerPublisherParts {
  readonly transport: Transport
  readonly codec: EventCodec
  readonly tracer: EventTracer
  readonly counters: BusCounters
  readonly metrics: BusMetrics
  readonly publishTimeoutMs: number
  readonly connection: FirstConnection
}

/** Publishes through a transport: encodes the events, waits for the receipts until the deadline, and reports the outcome of each event. */
export class BrokerPublisher {
  readonly #parts: BrokerPublisherParts
  readonly #deadlines: PublishDeadlines
  readonly #span: SpanKindOf<readonly DomainEvent[]>
  readonly #queue: PublishQueue
  readonly #running = new IdleCounter()

  constructor(parts: BrokerPublisherParts) {
    this.#parts = parts
    this.#deadlines = new PublishDeadlines(parts.publishTimeoutMs)
    this.#span = publishSpanOf(parts.transport)
    this.#queue = new PublishQueue({
      encode: (event, trace, cause) => this.#encode(event, trace, cause),
      send: (messages, deadline) => this.#publishBefore(messages, deadline),
      expired: () =>
        new PublishTimeoutError(
          parts.publishTimeoutMs,
          'the broker was busy with earlier events; publish fewer events at once',
        ),
    })
  }

  /** Publishes in flight. */
  get count(): number {
    return this.#running.count
  }

  /** Resolves when no publish is in flight. */
  drained(): Promise<void> {
    return this.#running.whenIdle()
  }

  /** Fails all publishes in flight. */
  giveUp(): void {
    this.#deadlines.expireAll()
  }

  /**
   * Its work before it returns is small, because a caller may start many publishes in one turn of the event loop.
   * @param cause - the event that caused those that have no cause.
   * @throws PublishError
   */
  publish(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    const { tracer } = this.#parts
    if (cause === undefined) return tracer.around(this.#span, events, this.#send)
    return tracer.around(this.#span, events, () => this.#start(events, cause))
  }

  readonly #send = (events: readonly DomainEvent[]): Promise<void> => this.#start(events, undefined)

  #start(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const trace = this.#parts.tracer.traceHeaders()
      const startedAt = this.#parts.metrics.refresh() === undefined ? 0 : performance.now()
      const deadline = this.#deadlines.start()
      const running = this.#running
      const report = this.#report
      this.#queue.publish(
        new Publish({ events, cause, trace, startedAt, deadline, running, report, resolve, reject }),
      )
    })
  }

  /** @returns the error with which the publish rejects; undefined if all events are stored. */
  readonly #report = (
    { events, startedAt }: Publish,
    failures: readonly PublishFailure[],
  ): Error | undefined => {
    if (startedAt > 0) this.#measure(events, failures, startedAt)
    const { counters, transport } = this.#parts
    counters.eventsPublished += events.length - failures.length
    if (failures.length < events.length) counters.lastPublishAt = Date.now()
    if (failures.length === 0) return undefined
    const error = publishError(transport.system, events, failures)
    counters.failed(error)
    return error
  }

  #measure(events: readonly DomainEvent[], failures: readonly PublishFailure[], startedAt: number): void {
    const failed = new Map(failures.map(({ index, error }) => [index, error]))
    this.#parts.metrics.recorder?.published(events, failed, startedAt)
  }

  /** Connects if necessary. Ends even if the transport does not answer. */
  async #publishBefore(
    messages: readonly OutgoingMessage[],
    deadline: PublishDeadline,
  ): Promise<readonly PublishFailure[]> {
    if (!this.#parts.connection.isDone) {
      const failure = await this.#connectBefore(deadline.signal)
      if (failure !== undefined) return allFailed(messages, 'notStored', failure)
    }
    return new Promise((resolve, reject) => {
      deadline.onOverdue(() => {
        const error = new PublishTimeoutError(this.#parts.publishTimeoutMs, 'the transport did not answer')
        resolve(allFailed(messages, 'unknown', error))
      })
      this.#parts.transport.publish(messages, deadline.signal).then(resolve, reject)
    })
  }

  #encode(
    event: DomainEvent,
    trace: Readonly<Record<string, string>> | undefined,
    cause: Cause | undefined,
  ): OutgoingMessage {
    const message = this.#parts.codec.encode(cause === undefined ? event : withCauseUnlessSet(event, cause))
    return trace === undefined ? message : { ...message, headers: { ...message.headers, ...trace } }
  }

  /** Connects if the bus never has. @returns the last error if it could not connect in time. */
  async #connectBefore(signal: AbortSignal): Promise<Error | undefined> {
    const { connection, publishTimeoutMs } = this.#parts
    let lastError: Error = new PublishTimeoutError(publishTimeoutMs, 'still connecting')
    const connect = async () => {
      // The error of an earlier attempt says more than that the last one has not ended.
      if (!(await settledUntil(connection.ensure(), signal))) throw lastError
    }
    const onFailure = (error: Error) => {
      lastError = error
      if (!(error instanceof ConnectionError && error.retryable)) throw error
    }
    try {
      const connected = await retryUntilDone(connect, { backoff: START_BACKOFF, signal, onFailure })
      return connected === undefined ? lastError : undefined
    } catch (thrown) {
      return toError(thrown)
    }
  }
}

/** What a publish consists of, and how it ends. */
interface PublishInit extends Pick<PublishRequest, 'events' | 'cause' | 'trace' | 'deadline'> {
  /** When it started, by the monotonic clock; 0 if no metrics are recorded. */
  readonly startedAt: number
  readonly running: IdleCounter
  readonly report: (publish: Publish, failures: readonly PublishFailure[]) => Error | undefined
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** One publish, until its promise settles. */
class Publish implements PublishRequest {
  readonly events: readonly DomainEvent[]
  readonly cause: Cause | undefined
  readonly trace: PublishRequest['trace']
  readonly deadline: PublishDeadline
  readonly startedAt: number
  readonly #running: IdleCounter
  readonly #report: PublishInit['report']
  readonly #resolve: () => void
  readonly #reject: (error: Error) => void

  constructor(init: PublishInit) {
    this.events = init.events
    this.cause = init.cause
    this.trace = init.trace
    this.deadline = init.deadline
    this.startedAt = init.startedAt
    this.#running = init.running
    this.#report = init.report
    this.#resolve = init.resolve
    this.#reject = init.reject
    this.#running.start()
  }

  settled(failures: readonly PublishFailure[]): void {
    this.#end()
    try {
      const error = this.#report(this, failures)
      if (error === undefined) this.#resolve()
      else this.#reject(error)
    } catch (thrown) {
      // A meter of the program can throw.
      this.#reject(toError(thrown))
    }
  }

  refused(error: Error): void {
    this.#end()
    this.#reject(error)
  }

  #end(): void {
    this.deadline.end()
    this.#running.end()
  }
}

function allFailed(
  messages: readonly OutgoingMessage[],
  status: PublishFailure['status'],
  error: Error,
): readonly PublishFailure[] {
  return messages.map((_message, index) => ({ index, status, error }))
}

function publishError(
  system: string,
  events: readonly DomainEvent[],
  failures: readonly PublishFailure[],
): PublishError {
  const byIndex = new Map(failures.map((failure) => [failure.index, failure]))
  const outcomes = events.map(({ eventId, eventType }, index) => {
    const failure = byIndex.get(index)
    return { eventId, eventType, status: failure?.status ?? ('stored' as const), error: failure?.error }
  })
  return new PublishError(system, outcomes)
}
