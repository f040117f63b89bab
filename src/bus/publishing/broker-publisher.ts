import type { EventCodec } from '../../codec/index.ts'
import { toError } from '../../errors.ts'
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
import { PublishQueue } from './publish-queue.ts'

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
      encode: (event, trace) => this.#encode(event, trace),
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

  /** @throws PublishError */
  publish(events: readonly DomainEvent[]): Promise<void> {
    return this.#running.track(this.#parts.tracer.around(this.#span, events, this.#send))
  }

  readonly #send = async (events: readonly DomainEvent[]): Promise<void> => {
    const startedAt = this.#parts.metrics.refresh() === undefined ? 0 : performance.now()
    const trace = this.#parts.tracer.traceHeaders()
    const deadline = this.#deadlines.start()
    try {
      const failures = await this.#queue.publish(events, trace, deadline)
      if (startedAt > 0) this.#measure(events, failures, startedAt)
      this.#parts.counters.eventsPublished += events.length - failures.length
      if (failures.length < events.length) this.#parts.counters.lastPublishAt = Date.now()
      if (failures.length > 0) {
        const error = publishError(this.#parts.transport.system, events, failures)
        this.#parts.counters.failed(error)
        throw error
      }
    } finally {
      deadline.end()
    }
  }

  #measure(events: readonly DomainEvent[], failures: readonly PublishFailure[], startedAt: number): void {
    const failed = new Map(failures.map(({ index, error }) => [index, error]))
    this.#parts.metrics.recorder?.published(events, failed, startedAt)
  }

  /** Connects if necessary. Ends even if the transport does not answer. */
  async #publishBefore(
    messages: readonly OutgoingMessage[],
    { signal, overdue }: PublishDeadline,
  ): Promise<readonly PublishFailure[]> {
    const failure = await this.#connectBefore(signal)
    if (failure !== undefined) return allFailed(messages, 'notStored', failure)
    const noAnswer = overdue.then(() => {
      const error = new PublishTimeoutError(this.#parts.publishTimeoutMs, 'the transport did not answer')
      return allFailed(messages, 'unknown', error)
    })
    return Promise.race([this.#parts.transport.publish(messages, signal), noAnswer])
  }

  #encode(event: DomainEvent, trace: Readonly<Record<string, string>> | undefined): OutgoingMessage {
    const message = this.#parts.codec.encode(event)
    return trace === undefined ? message : { ...message, headers: { ...message.headers, ...trace } }
  }

  /** Connects if the bus never has. @returns the last error if it could not connect in time. */
  async #connectBefore(signal: AbortSignal): Promise<Error | undefined> {
    const { connection, publishTimeoutMs } = this.#parts
    if (connection.isDone) return undefined
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
