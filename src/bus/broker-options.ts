import type { Meter as OpenTelemetryApiMeter, Tracer as OpenTelemetryApiTracer } from '@opentelemetry/api'
import { type EventCodec, JsonCodec } from '../codec/index.ts'
import { defaultRegistry, EventRegistry } from '../events/index.ts'
import { busObservabilityRules } from '../kit/observability-options.ts'
import {
  booleanOption,
  delayMs,
  durationMs,
  durationMsOrInfinity,
  fraction,
  nonEmptyText,
  nonNegativeInteger,
  type OptionRule,
  objectWith,
  positiveInteger,
} from '../kit/options.ts'
import type { FieldsFirstLogger, Logger } from '../observability/logger.ts'

/** Options that every broker bus has. */
export interface BrokerOptions {
  /** Consumers of the same group share the events; each group gets all of them. Default `'default'`. */
  readonly consumerGroup?: string
  /** Retries after the first attempt, before the dead letter queue. Default 3. */
  readonly maxRetries?: number
  /** Wait before the first retry, in milliseconds; doubles with each further one. Default 1,000. */
  readonly retryBaseDelayMs?: number
  /** Longest wait between two attempts, in milliseconds. Caps the exponential term, before jitter. Default 60,000. */
  readonly retryMaxDelayMs?: number
  /** Part of each delay, from 0 to 1, by which chance makes it shorter or longer. Default 0.1. */
  readonly retryJitter?: number
  /** Keep what is given up in the dead letter queue; otherwise it is logged, counted and dropped. Default true. */
  readonly enableDlq?: boolean
  /** Aggregates handled at the same time by this bus. Default 16. */
  readonly concurrency?: number
  /** Messages held at most: waiting, running or between two attempts. Default 1,000; 2,000 on Kafka. */
  readonly maxInFlight?: number
  /**
   * Longest time of one run of a handler, in milliseconds; then its signal is aborted and the attempt counts as
   * failed. Default Infinity.
   */
  readonly handlerTimeoutMs?: number
  /** Longest time a `publish` takes, in milliseconds, waiting for an absent broker included. Default 10,000. */
  readonly publishTimeoutMs?: number
  /** Longest time of a `shutdown` or `stopConsuming` without a `timeoutMs` of its own, in milliseconds. Default 30,000. */
  readonly shutdownTimeoutMs?: number
  /** Background publishes under way at most; beyond it they run inline. Default 1,000. */
  readonly maxBackgroundPublishes?: number
  /** How events become messages. Default: `new JsonCodec()`, the format of eventsource-py. */
  readonly codec?: EventCodec
  /** Classes to decode with beside the subscribed ones. Default: the one `registerEvent` fills. */
  readonly registry?: EventRegistry
  /**
   * Events that a handler makes or publishes take the handled event's `correlationId`, and its id as `causationId`,
   * unless they are given. Default true.
   */
  readonly propagateCausation?: boolean
  /** Open OpenTelemetry spans where an SDK is registered. Default true. */
  readonly enableTracing?: boolean
  /** Tracer to use instead of OpenTelemetry's global one. */
  readonly tracer?: OpenTelemetryApiTracer
  /** Record OpenTelemetry metrics where an SDK is registered. Default true. */
  readonly enableMetrics?: boolean
  /** Meter to use instead of OpenTelemetry's global one. */
  readonly meter?: OpenTelemetryApiMeter
  /** Where failures are reported; `console` (warnings and errors) by default. Takes pino's loggers too. */
  readonly logger?: Logger | FieldsFirstLogger
}

export const brokerDefaults = {
  consumerGroup: 'default',
  maxRetries: 3,
  retryBaseDelayMs: 1000,
  retryMaxDelayMs: 60_000,
  retryJitter: 0.1,
  enableDlq: true,
  concurrency: 16,
  maxInFlight: 1000,
  handlerTimeoutMs: Number.POSITIVE_INFINITY,
  publishTimeoutMs: 10_000,
  shutdownTimeoutMs: 30_000,
  maxBackgroundPublishes: 1000,
  codec: new JsonCodec() as EventCodec,
  registry: defaultRegistry,
  propagateCausation: true,
  enableTracing: true,
  tracer: undefined as OpenTelemetryApiTracer | undefined,
  enableMetrics: true,
  meter: undefined as OpenTelemetryApiMeter | undefined,
  logger: undefined as Logger | FieldsFirstLogger | undefined,
}

/** The common options, complete. */
export type ResolvedBrokerOptions = Readonly<typeof brokerDefaults>

export const brokerRules: Readonly<Record<keyof typeof brokerDefaults, OptionRule>> = {
  consumerGroup: nonEmptyText,
  maxRetries: nonNegativeInteger,
  retryBaseDelayMs: delayMs,
  retryMaxDelayMs: delayMs,
  retryJitter: fraction,
  enableDlq: booleanOption,
  concurrency: positiveInteger,
  maxInFlight: positiveInteger,
  handlerTimeoutMs: durationMsOrInfinity,
  publishTimeoutMs: durationMs,
  shutdownTimeoutMs: durationMs,
  maxBackgroundPublishes: nonNegativeInteger,
  codec: objectWith('an EventCodec', 'encode', 'decode'),
  registry: { rule: 'an EventRegistry', isValid: (value) => value instanceof EventRegistry },
  ...busObservabilityRules,
}
