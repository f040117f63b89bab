import type { Attributes, Meter } from '@opentelemetry/api'
import { EventspineError } from '../../errors.ts'
import type { DomainEvent } from '../../events/index.ts'
import { registeredType } from '../../handling/handler-span.ts'
import type { MeterSource } from '../../observability/meter.ts'
import type { DeadLetterReason } from '../../transport/transport.ts'
import { type MessagingTarget, targetAttributes } from './bus-spans.ts'
import {
  createInstruments,
  type MetricInstruments,
  type MetricProbes,
  observe,
} from './metric-instruments.ts'

export interface BusMetricsParts {
  readonly target: MessagingTarget
  readonly consumerGroup: string | undefined
  /** Undefined if metrics are off. */
  readonly source: MeterSource | undefined
  readonly probes: MetricProbes
}

/** The metrics of a bus. While no SDK is registered, there is no {@link recorder} and nothing is measured. */
export class BusMetrics {
  readonly #parts: BusMetricsParts
  #meter: Meter | undefined
  #endObserving: (() => void) | undefined
  #isClosed = false
  /** Undefined while no SDK is registered. */
  recorder: MetricsRecorder | undefined

  constructor(parts: BusMetricsParts) {
    this.#parts = parts
    this.refresh()
  }

  /** Applies a change of the registered SDK. Without an SDK, it costs one comparison. @returns the recorder. */
  refresh(): MetricsRecorder | undefined {
    const meter = this.#parts.source?.current()
    if (meter !== this.#meter && !this.#isClosed) this.#use(meter)
    return this.recorder
  }

  /** Stops observing the bus. */
  close(): void {
    this.#isClosed = true
    this.#endObserving?.()
  }

  #use(meter: Meter | undefined): void {
    const { target, consumerGroup, probes } = this.#parts
    this.#endObserving?.()
    this.#endObserving = undefined
    this.#meter = meter
    this.recorder = undefined
    if (meter === undefined) return
    this.recorder = new MetricsRecorder(createInstruments(meter), target, consumerGroup)
    this.#endObserving = observe(meter, this.recorder.consumer, probes)
  }
}

/** How the handling of a message ended. */
export type HandlingOutcome = 'success' | 'failure' | 'dead_lettered' | 'dropped' | 'postponed'

/** Records measurements. The attributes of each combination are created once; there are few combinations. */
export class MetricsRecorder {
  /** Attributes of all metrics of consuming. */
  readonly consumer: Attributes
  readonly #publisher: Attributes
  readonly #instruments: MetricInstruments
  readonly #attributes = new Map<string, Attributes>()

  constructor(instruments: MetricInstruments, target: MessagingTarget, consumerGroup: string | undefined) {
    this.#instruments = instruments
    const shared = targetAttributes(target)
    this.#publisher = {
      ...shared,
      'messaging.operation.name': 'publish',
      'messaging.operation.type': 'send',
    }
    this.consumer =
      consumerGroup === undefined ? shared : { ...shared, 'messaging.consumer.group.name': consumerGroup }
  }

  /** Records the end of a publish. @param failed - by index, the errors of events that are not stored or may not be. */
  published(events: readonly DomainEvent[], failed: ReadonlyMap<number, Error>, startedAt: number): void {
    for (const [index, event] of events.entries()) {
      const error = failed.get(index)
      this.#instruments.sent.add(
        1,
        this.#of(this.#publisher, 'sent', registeredType(event), error && errorType(error)),
      )
    }
    const [error] = failed.values()
    const attributes = this.#of(this.#publisher, 'publish', undefined, error && errorType(error))
    this.#instruments.publishDuration.record(secondsSince(startedAt), attributes)
  }

  consumed(event: DomainEvent | undefined): void {
    this.#instruments.consumed.add(1, this.#consuming('consumed', event))
  }

  retried(event: DomainEvent): void {
    this.#instruments.retried.add(1, this.#consuming('retried', event))
  }

  discarded(event: DomainEvent, handlerName: string): void {
    const extra = { 'eventspine.handler.name': handlerName }
    const key = `discarded ${handlerName}`
    this.#instruments.discarded.add(1, this.#of(this.consumer, key, registeredType(event), undefined, extra))
  }

  /** Records the end of one run of one handler. */
  ran(event: DomainEvent, handlerName: string, error: Error | undefined, startedAt: number): void {
    const outcome = error === undefined ? 'success' : 'failure'
    const failure = error && errorType(error)
    const key = `ran ${handlerName} ${outcome}`
    const attributes = this.#of(this.consumer, key, registeredType(event), failure, {
      'eventspine.handler.name': handlerName,
      'eventspine.outcome': outcome,
    })
    this.#instruments.handlerDuration.record(secondsSince(startedAt), attributes)
  }

  /** Records the end of the handling of a message. @param startedAt - undefined if the start was not measured. */
  handled(
    event: DomainEvent | undefined,
    outcome: HandlingOutcome,
    reason: DeadLetterReason['kind'] | undefined,
    startedAt: number | undefined,
  ): void {
    const extra = { 'eventspine.outcome': outcome }
    const type = event && registeredType(event)
    const attributes = this.#of(this.consumer, `handled ${outcome}`, type, reason, extra)
    const { handled, deadLettered, processDuration, age } = this.#instruments
    handled.add(1, attributes)
    if (outcome === 'dead_lettered') {
      deadLettered.add(1, this.#of(this.consumer, 'dead_lettered', type, reason))
    }
    if (startedAt !== undefined) processDuration.record(secondsSince(startedAt), attributes)
    if (event === undefined) return
    age.record(Math.max(0, Date.now() - event.occurredAt.getTime()) / 1000, attributes)
  }

  #consuming(key: string, event: DomainEvent | undefined): Attributes {
    return this.#of(this.consumer, key, event && registeredType(event), undefined)
  }

  /** @param key - must differ if `base` or `extra` differs. */
  #of(
    base: Attributes,
    key: string,
    type: string | undefined,
    failure: string | undefined,
    extra: Attributes = {},
  ): Attributes {
    const fullKey = `${key}\0${type}\0${failure}`
    const known = this.#attributes.get(fullKey)
    if (known !== undefined) return known
    const attributes: Attributes = { ...base, ...extra }
    if (type !== undefined) attributes['eventspine.event.type'] = type
    if (failure !== undefined) attributes['error.type'] = failure
    this.#attributes.set(fullKey, attributes)
    return attributes
  }
}

/**
 * The code of an error of eventspine, or the class name of any other error. There are few of both, so they can be
 * attributes.
 */
function errorType(error: Error): string {
  return error instanceof EventspineError ? error.code : error.constructor.name
}

function secondsSince(startedAt: number): number {
  return (performance.now() - startedAt) / 1000
}
