import type { Meter as OpenTelemetryApiMeter, Tracer as OpenTelemetryApiTracer } from '@opentelemetry/api'
import { type EventCodec, JsonCodec } from '../codec/index.ts'
import { defaultRegistry, type EventRegistry } from '../events/index.ts'
import type { HandlerPolicy } from '../handling/handler-policy.ts'
import { busObservabilityRules } from '../kit/observability-options.ts'
import {
  booleanOption,
  delayMs,
  delaysMs,
  durationMs,
  durationMsOrInfinity,
  fraction,
  functionOption,
  nonEmptyText,
  nonNegativeInteger,
  type OptionRule,
  objectWith,
  oneOf,
  optional,
  positiveInteger,
  positiveIntegerOrInfinity,
} from '../kit/options.ts'
import type { FieldsFirstLogger, Logger } from '../observability/logger.ts'
import type { Audit } from './audit.ts'
import { registryRule } from './registry-rule.ts'

/** What a bus does with an event of a newer version than its class. */
export type NewerVersions = 'tolerate' | 'refuse'

/** What a bus does with an event that no handler of its consumer group is subscribed to. */
export type UnhandledEvents = 'skip' | 'deadLetter'

/** Options that all broker buses have. */
export interface BrokerOptions {
  /** Consumers of one group share the events; each group receives all of them. Default `'default'`. */
  readonly consumerGroup?: string
  /**
   * Give every running instance every event that is published after it has started to consume. An instance that stops leaves
   * nothing on the broker; a killed one leaves nothing after a minute. An event whose last retry failed is logged, counted
   * and dropped. Default false.
   */
  readonly broadcast?: boolean
  /** Retries after the first attempt, before the dead letter queue. Default 3. */
  readonly maxRetries?: number
  /** Delay before the first retry, in milliseconds; it doubles with each further retry. Default 1,000. */
  readonly retryBaseDelayMs?: number
  /** Maximum delay between two attempts, in milliseconds. Caps the exponential term, before jitter. Default 60,000. */
  readonly retryMaxDelayMs?: number
  /** Fraction, from 0 to 1, by which each delay is randomly shortened or lengthened. Default 0.1. */
  readonly retryJitter?: number
  /**
   * The delay before each retry, in milliseconds, such as `[1_000, 60_000, 600_000]`. Replaces `maxRetries` and the
   * exponential delays.
   */
  readonly retryDelaysMs?: readonly number[]
  /** Returns false for an error that no retry can fix; see `HandlerPolicy.retryIf`. Default: every error is retried. */
  readonly retryIf?: (error: Error) => boolean
  /** Returns true for an error with which a handler discards the event; see `HandlerPolicy.discardIf`. Default: none. */
  readonly discardIf?: (error: Error) => boolean
  /**
   * Move events whose last retry failed to the dead letter queue. If false, they are logged, counted and dropped.
   * Default true.
   */
  readonly enableDlq?: boolean
  /**
   * Store the stack of the error in a dead letter, at most 4,000 characters. A stack contains paths of the program, and the
   * message of the error. Default false.
   */
  readonly deadLetterStacks?: boolean
  /** Maximum number of aggregates whose events this bus handles concurrently. Default 16. */
  readonly concurrency?: number
  /**
   * Maximum number of messages that the bus holds: waiting, being handled, or between two attempts. Default 1,000;
   * 2,000 on Kafka.
   */
  readonly maxInFlight?: number
  /**
   * Maximum size of the messages that the bus holds, in bytes of headers and bodies; Infinity for no limit. A larger
   * message is handled alone. The process needs several times as much memory, for messages that are being fetched and
   * for the decoded events of running handlers. Default 67,108,864 (64 MiB).
   */
  readonly maxInFlightBytes?: number
  /**
   * Maximum duration of one attempt of a handler, in milliseconds. After that, its signal is aborted and the attempt
   * counts as failed. Default Infinity.
   */
  readonly handlerTimeoutMs?: number
  /**
   * Maximum duration of a `publish`, in milliseconds, including the wait for an unreachable broker. In a burst, each
   * confirmation of other events restarts the time of the waiting ones, and so does the moment at which an event is passed
   * to the transport. Default 10,000.
   */
  readonly publishTimeoutMs?: number
  /**
   * Maximum duration of `shutdown` and `stopConsuming`, in milliseconds, if they are called without `timeoutMs`.
   * Default 30,000.
   */
  readonly shutdownTimeoutMs?: number
  /** Maximum number of background publishes in flight. Beyond it, `publish` waits for its own events. Default 1,000. */
  readonly maxBackgroundPublishes?: number
  /** Converts events to messages and back. Default: `new JsonCodec()`, the format of eventsource-py. */
  readonly codec?: EventCodec
  /** Event classes to decode with, in addition to the subscribed ones. Default: the registry that `registerEvent` fills. */
  readonly registry?: EventRegistry
  /**
   * What the bus does with an event whose version is newer than that of its class in this process. `'tolerate'`: the
   * event is handled if the schema accepts it, and fields that the schema does not know are dropped. `'refuse'`: the
   * event becomes a dead letter at once, with a reason that names both versions. Default `'tolerate'`.
   */
  readonly newerVersions?: NewerVersions
  /**
   * What the bus does with an event of a type that no handler of its consumer group is subscribed to. `'skip'`: it is
   * acknowledged and counted (`eventsSkipped`). `'deadLetter'`: it becomes a dead letter, and a replay brings it to
   * handlers that are subscribed later. Default `'skip'`.
   */
  readonly unhandledEvents?: UnhandledEvents
  /**
   * How long the bus keeps an event of a type that only other members of its consumer group handle, in milliseconds. The
   * event is redelivered to them when this bus stops consuming; after this time it becomes a dead letter. Later events
   * of its aggregate wait. Default 600,000 (10 minutes).
   */
  readonly handoverTimeoutMs?: number
  /**
   * Give events that a handler creates or publishes the `correlationId` of the handled event, and its id as
   * `causationId`, unless they are set. Default true.
   */
  readonly propagateCausation?: boolean
  /** Create OpenTelemetry spans if an SDK is registered. Default true. */
  readonly enableTracing?: boolean
  /** Tracer to use instead of OpenTelemetry's global one. */
  readonly tracer?: OpenTelemetryApiTracer
  /**
   * Write OpenTelemetry's baggage into messages, and make the baggage of a message active in its handlers. Any producer
   * can set baggage. Default false.
   */
  readonly propagateBaggage?: boolean
  /** Record OpenTelemetry metrics if an SDK is registered. Default true. */
  readonly enableMetrics?: boolean
  /** Meter to use instead of OpenTelemetry's global one. */
  readonly meter?: OpenTelemetryApiMeter
  /**
   * Stores a record of each change that an operator makes, such as a replay or a purge of dead letters: one before it and
   * one after it. If it rejects before a change, the change is not made. The log has the second one in any case.
   */
  readonly audit?: Audit
  /**
   * Interval at which the bus reports itself to the broker, for `bus.admin.consumers` and `topology`, in milliseconds; Infinity
   * for never. A process that has not reported for three intervals counts as gone. Default 10,000.
   */
  readonly presenceIntervalMs?: number
  /** Name of the program in these reports. Default: the environment variable `OTEL_SERVICE_NAME`. */
  readonly programName?: string
  /** Version of the program in these reports. */
  readonly programVersion?: string
  /** Logger for failures; `console` (warnings and errors) by default. A pino logger works, too. */
  readonly logger?: Logger | FieldsFirstLogger
}

/** The defaults of the options that all broker buses share, for the options of a bus over another broker. */
export const brokerDefaults = {
  consumerGroup: 'default',
  broadcast: false,
  maxRetries: 3,
  retryBaseDelayMs: 1000,
  retryMaxDelayMs: 60_000,
  retryJitter: 0.1,
  retryDelaysMs: undefined as readonly number[] | undefined,
  retryIf: undefined as HandlerPolicy['retryIf'] | undefined,
  discardIf: undefined as HandlerPolicy['discardIf'] | undefined,
  enableDlq: true,
  deadLetterStacks: false,
  concurrency: 16,
  maxInFlight: 1000,
  maxInFlightBytes: 64 * 1024 * 1024,
  handlerTimeoutMs: Number.POSITIVE_INFINITY,
  publishTimeoutMs: 10_000,
  shutdownTimeoutMs: 30_000,
  maxBackgroundPublishes: 1000,
  codec: new JsonCodec() as EventCodec,
  registry: defaultRegistry,
  newerVersions: 'tolerate' as NewerVersions,
  unhandledEvents: 'skip' as UnhandledEvents,
  handoverTimeoutMs: 600_000,
  propagateCausation: true,
  enableTracing: true,
  tracer: undefined as OpenTelemetryApiTracer | undefined,
  propagateBaggage: false,
  enableMetrics: true,
  meter: undefined as OpenTelemetryApiMeter | undefined,
  audit: undefined as Audit | undefined,
  presenceIntervalMs: 10_000,
  programName: undefined as string | undefined,
  programVersion: undefined as string | undefined,
  logger: undefined as Logger | FieldsFirstLogger | undefined,
}

/** Kafka keeps the reports of ten minutes. */
const MAX_PRESENCE_MS = 200_000

const presenceInterval: OptionRule = {
  rule: `${durationMs.rule} and at most ${MAX_PRESENCE_MS}, or Infinity for never`,
  isValid: (value) =>
    value === Number.POSITIVE_INFINITY || (durationMs.isValid(value) && Number(value) <= MAX_PRESENCE_MS),
}

/** The common options, with defaults applied. */
export type ResolvedBrokerOptions = Readonly<typeof brokerDefaults>

/** The values that these options accept. */
export const brokerRules: Readonly<Record<keyof typeof brokerDefaults, OptionRule>> = {
  consumerGroup: nonEmptyText,
  broadcast: booleanOption,
  maxRetries: nonNegativeInteger,
  retryBaseDelayMs: delayMs,
  retryMaxDelayMs: delayMs,
  retryJitter: fraction,
  retryDelaysMs: optional(delaysMs),
  retryIf: optional(functionOption),
  discardIf: optional(functionOption),
  enableDlq: booleanOption,
  deadLetterStacks: booleanOption,
  concurrency: positiveInteger,
  maxInFlight: positiveInteger,
  maxInFlightBytes: positiveIntegerOrInfinity,
  handlerTimeoutMs: durationMsOrInfinity,
  publishTimeoutMs: durationMs,
  shutdownTimeoutMs: durationMs,
  maxBackgroundPublishes: nonNegativeInteger,
  propagateBaggage: booleanOption,
  audit: optional(functionOption),
  presenceIntervalMs: presenceInterval,
  programName: optional(nonEmptyText),
  programVersion: optional(nonEmptyText),
  codec: objectWith('an EventCodec', 'encode', 'decode'),
  registry: registryRule,
  newerVersions: oneOf('tolerate', 'refuse'),
  unhandledEvents: oneOf('skip', 'deadLetter'),
  handoverTimeoutMs: delayMs,
  ...busObservabilityRules,
}
