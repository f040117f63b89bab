import type { EventCodec } from '../../codec/index.ts'
import { toError } from '../../errors.ts'
import type { DomainEvent } from '../../events/index.ts'
import { RetryPolicy, START_RETRY } from '../../kit/retry-policy.ts'
import { sleep } from '../../kit/time.ts'
import type { EventTracer, SpanKindOf } from '../../observability/tracer.ts'
import { ConnectionError, PublishTimeoutError } from '../../transport/errors.ts'
import type { OutgoingMessage, PublishFailure, Transport } from '../../transport/transport.ts'
import { PublishError } from '../errors.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'
import type { BusMetrics } from '../telemetry/bus-metrics.ts'
import { publishSpanOf } from '../telemetry/bus-spans.ts'
import { type PublishDeadline, PublishDeadlines } from './publish-deadlines.ts'

export interface BrokerPublisherParts {
  readonly transport: Transport
  readonly codec: EventCodec
  readonly tracer: EventTracer
  readonly counters: BusCounters
  readonly metrics: BusMetrics
  readonly publishTimeoutMs: number
  /** False until the first connection; from then on the transport reconnects by itself. */
  readonly isConnected: () => boolean
  readonly connect: () => Promise<void>
}

/** Publishes through a transport: encodes, waits for the receipt until the deadline, says what became of each event. */
export class BrokerPublisher {
  readonly #parts: BrokerPublisherParts
  readonly #deadlines: PublishDeadlines
  readonly #span: SpanKindOf<readonly DomainEvent[]>
  readonly #running = new Set<Promise<unknown>>()

  constructor(parts: BrokerPublisherParts) {
    this.#parts = parts
    this.#deadlines = new PublishDeadlines(parts.publishTimeoutMs)
    this.#span = publishSpanOf(parts.transport)
  }

  /** Publishes under way. */
  get count(): number {
    return this.#running.size
  }

  /** Resolves when what is under way now has ended. */
  async drained(): Promise<void> {
    await Promise.allSettled(this.#running)
  }

  /** Lets all that is under way fail at once. */
  giveUp(): void {
    this.#deadlines.endAll()
  }

  /** @throws PublishError */
  async publish(events: readonly DomainEvent[]): Promise<void> {
    const sending = this.#parts.tracer.around(this.#span, events, this.#send)
    this.#running.add(sending)
    try {
      await sending
    } finally {
      this.#running.delete(sending)
    }
  }

  readonly #send = async (events: readonly DomainEvent[]): Promise<void> => {
    const startedAt = this.#parts.metrics.refresh() === undefined ? 0 : performance.now()
    const trace = this.#parts.tracer.traceHeaders()
    const messages = events.map((event) => this.#encode(event, trace))
    const deadline = this.#deadlines.start()
    try {
      const failures =
        (await this.#connectFor(events, deadline.signal)) ?? (await this.#publishBefore(deadline, messages))
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

  /** A publish never hangs, though a transport might. */
  #publishBefore(
    { signal, overdue }: PublishDeadline,
    messages: readonly OutgoingMessage[],
  ): Promise<readonly PublishFailure[]> {
    const noAnswer = overdue.then(() => {
      const error = new PublishTimeoutError(this.#parts.publishTimeoutMs, 'the transport gave no answer')
      return messages.map((_message, index) => ({ index, status: 'unknown' as const, error }))
    })
    return Promise.race([this.#parts.transport.publish(messages, signal), noAnswer])
  }

  #encode(event: DomainEvent, trace: Readonly<Record<string, string>> | undefined): OutgoingMessage {
    const message = this.#parts.codec.encode(event)
    return trace === undefined ? message : { ...message, headers: { ...message.headers, ...trace } }
  }

  /** @returns the failures when the bus could not connect in time, undefined when it is connected. */
  async #connectFor(
    events: readonly DomainEvent[],
    signal: AbortSignal,
  ): Promise<readonly PublishFailure[] | undefined> {
    if (this.#parts.isConnected()) return undefined
    const backoff = new RetryPolicy(START_RETRY)
    for (let failure = 1; ; failure += 1) {
      try {
        await this.#connectWithin(signal)
        return undefined
      } catch (thrown) {
        const error = toError(thrown)
        const mayHelp = error instanceof ConnectionError && error.retryable
        if (!mayHelp || !(await sleep(backoff.backoff(failure), signal))) {
          return events.map((_event, index) => ({ index, status: 'notStored', error }))
        }
      }
    }
  }

  async #connectWithin(signal: AbortSignal): Promise<void> {
    const late = Promise.withResolvers<never>()
    const { publishTimeoutMs } = this.#parts
    const onAbort = () => late.reject(new PublishTimeoutError(publishTimeoutMs, 'still connecting'))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([this.#parts.connect(), late.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
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
