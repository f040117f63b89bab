import type { Meter as OpenTelemetryApiMeter, Tracer as OpenTelemetryApiTracer } from '@opentelemetry/api'
import { defaultRegistry, type EventRegistry } from '../events/index.ts'
import { busObservabilityRules } from '../kit/observability-options.ts'
import { durationMs, durationMsOrInfinity, nonNegativeInteger, type OptionRule } from '../kit/options.ts'
import type { FieldsFirstLogger, Logger } from '../observability/logger.ts'
import { registryRule } from './registry-rule.ts'

/** Options of `InMemoryEventBus`. */
export interface InMemoryEventBusOptions {
  /**
   * Give events that a handler creates or publishes the `correlationId` of the handled event, and its id as
   * `causationId`, unless they are set. Default true.
   */
  readonly propagateCausation?: boolean
  /** Create OpenTelemetry spans if an SDK is registered. Default true. */
  readonly enableTracing?: boolean
  /** Tracer to use instead of OpenTelemetry's global one. */
  readonly tracer?: OpenTelemetryApiTracer
  /** Record OpenTelemetry metrics if an SDK is registered. Default true. */
  readonly enableMetrics?: boolean
  /** Meter to use instead of OpenTelemetry's global one. */
  readonly meter?: OpenTelemetryApiMeter
  /** Logger for failures; `console` (warnings and errors) by default. A pino logger works, too. */
  readonly logger?: Logger | FieldsFirstLogger
  /** Event classes that are known in addition to the subscribed ones. Default: the registry that `registerEvent` fills. */
  readonly registry?: EventRegistry
  /** Maximum duration of one attempt of a handler, in milliseconds. Default Infinity. */
  readonly handlerTimeoutMs?: number
  /** Maximum number of background publishes in flight. Beyond it, `publish` waits for its own events. Default 1,000. */
  readonly maxBackgroundPublishes?: number
  /** Maximum duration of a `shutdown` that is called without `timeoutMs`, in milliseconds. Default 30,000. */
  readonly shutdownTimeoutMs?: number
  /**
   * Number of events that `bus.admin` can browse: the last ones that were published. They stay in memory. Default 0.
   */
  readonly keepLastEvents?: number
}

export const inMemoryDefaults = {
  propagateCausation: true,
  enableTracing: true,
  tracer: undefined as OpenTelemetryApiTracer | undefined,
  enableMetrics: true,
  meter: undefined as OpenTelemetryApiMeter | undefined,
  logger: undefined as Logger | FieldsFirstLogger | undefined,
  registry: defaultRegistry,
  handlerTimeoutMs: Number.POSITIVE_INFINITY,
  maxBackgroundPublishes: 1000,
  shutdownTimeoutMs: 30_000,
  keepLastEvents: 0,
}

export const inMemoryRules: Readonly<Record<keyof typeof inMemoryDefaults, OptionRule>> = {
  ...busObservabilityRules,
  registry: registryRule,
  handlerTimeoutMs: durationMsOrInfinity,
  maxBackgroundPublishes: nonNegativeInteger,
  shutdownTimeoutMs: durationMs,
  keepLastEvents: nonNegativeInteger,
}
