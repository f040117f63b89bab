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
import { PublishQueue } from './publish-queue.ts'
import type { PublishRequest } from './publish-request.ts'

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
  readonly #span: SpanKindOf<readonly DomainEvent[]>
  readonly #queue: PublishQueue
  readonly #running = new IdleCounter()
  readonly #owner: PublishOwner = {
    running: this.#running,
    report: (publish, failures) => this.#report(publish, failures),
  }

  constructor(parts: BrokerPublisherParts) {
    this.#parts = parts
    this.#span = publishSpanOf(parts.transport)
    this.#queue = new PublishQueue({
      timeoutMs: parts.publishTimeoutMs,
      encode: (event, trace, cause) => this.#encode(event, trace, cause),
      send: (messages, signal) =>
        parts.connection.isDone
          ? parts.transport.publish(messages, signal)
          : this.#publishOnceConnected(messages, signal),
      expired: () =>
        new PublishTimeoutError(
          parts.publishTimeoutMs,
          'the broker was busy with earlier events; publish fewer events at once',
        ),
      overdue: () => new PublishTimeoutError(parts.publishTimeoutMs, 'the transport did not answer'),
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
    this.#queue.giveUp()
  }

  /**
   * Its work before it returns is small, because a caller may start many publishes in one turn of the event loop.
   * @param cause - the event that caused those that have no cause.
   * @throws PublishError
   */
  publish(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    if (cause !== undefined) return this.#publishCaused(events, cause)
    return this.#parts.tracer.around(this.#span, events, this.#send)
  }

  #publishCaused(events: readonly DomainEvent[], cause: Cause): Promise<void> {
    return this.#parts.tracer.around(this.#span, events, () => this.#start(events, cause))
  }

  readonly #send = (events: readonly DomainEvent[]): Promise<void> => this.#start(events, undefined)

  #start(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    const publish = new Publish(this.#owner, events, cause)
    publish.trace = this.#parts.tracer.traceHeaders()
    if (this.#parts.metrics.refresh() !== undefined) publish.startedAt = performance.now()
    this.#queue.publish(publish)
    return publish.outcome
  }

  /** @returns the error with which the publish rejects; undefined if all events are stored. */
  #report({ events, startedAt }: Publish, failures: readonly PublishFailure[]): Error | undefined {
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

  async #publishOnceConnected(
    messages: readonly OutgoingMessage[],
    signal: AbortSignal,
  ): Promise<readonly PublishFailure[]> {
    const error = await this.#connectBefore(signal)
    if (error === undefined) return this.#parts.transport.publish(messages, signal)
    return messages.map((_message, index) => ({ index, status: 'notStored', error }))
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

/** What the publishes of a bus share. */
interface PublishOwner {
  readonly running: IdleCounter
  readonly report: (publish: Publish, failures: readonly PublishFailure[]) => Error | undefined
}

let lastResolve: () => void
let lastReject: (error: Error) => void
/** Executes each promise of a publish. A function of its own for each would cost more than the promise. */
const noteSettlers = (resolve: () => void, reject: (error: Error) => void): void => {
  lastResolve = resolve
  lastReject = reject
}

/** One publish, until its promise settles. A burst creates many, so it is small. */
class Publish implements PublishRequest {
  readonly events: readonly DomainEvent[]
  readonly cause: Cause | undefined
  readonly outcome = new Promise<void>(noteSettlers)
  trace: PublishRequest['trace']
  turn: PublishRequest['turn']
  /** When it started, by the monotonic clock; 0 if no metrics are recorded. */
  startedAt = 0
  readonly #owner: PublishOwner
  readonly #resolve = lastResolve
  readonly #reject = lastReject

  constructor(owner: PublishOwner, events: readonly DomainEvent[], cause: Cause | undefined) {
    this.#owner = owner
    this.events = events
    this.cause = cause
    owner.running.start()
  }

  settled(failures: readonly PublishFailure[]): void {
    const { running, report } = this.#owner
    running.end()
    try {
      const error = report(this, failures)
      if (error === undefined) this.#resolve()
      else this.#reject(error)
    } catch (thrown) {
      // A meter of the program can throw.
      this.#reject(toError(thrown))
    }
  }

  refused(error: Error): void {
    this.#owner.running.end()
    this.#reject(error)
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
