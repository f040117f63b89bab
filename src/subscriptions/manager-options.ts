import { randomUUID } from 'node:crypto'
import type { Meter, Tracer as OpenTelemetryApiTracer } from '@opentelemetry/api'
import type { EventBus } from '../bus/index.ts'
import { ConfigError } from '../errors.ts'
import { observabilityRules } from '../kit/observability-options.ts'
import {
  booleanOption,
  durationMs,
  nonEmptyText,
  type OptionRule,
  objectWith,
  optional,
  resolveOptions,
} from '../kit/options.ts'
import type { FieldsFirstLogger, Logger } from '../observability/logger.ts'
import { MeterSource } from '../observability/meter.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { noTracer, OpenTelemetryTracer } from '../observability/tracer.ts'
import type { EventFeed } from '../store/index.ts'
import type { CheckpointStore } from './checkpoint-store.ts'
import type { SubscriptionDeadLetterStore } from './dead-letter-store.ts'
import type { SubscriptionHost } from './feed-subscription.ts'
import type { LeaseStore } from './lease-store.ts'
import { isOutbox } from './outbox.ts'
import type { EventReplacement } from './replacements.ts'

/** Options of a `SubscriptionManager`. */
export interface SubscriptionManagerOptions {
  /** The only source of events: an event store, or the outbox of the stores. */
  readonly eventStore: EventFeed
  /** Stores the position of each subscription. Required, except with an outbox, which has its own checkpoints. */
  readonly checkpoints?: CheckpointStore
  /** Wakes subscriptions when it delivers an event to this process. Optional: it only shortens the wait for the next poll. */
  readonly eventBus?: EventBus
  /** Stores the dead letters of subscriptions with `onFailure: 'deadLetter'`. */
  readonly deadLetters?: SubscriptionDeadLetterStore
  /**
   * Lets one instance of each subscription run, with failover to another instance. Without it, run only one instance.
   * An outbox has its own leases.
   */
  readonly leases?: LeaseStore
  /** Time after which a lease expires if its instance does not extend it, in milliseconds. Default 15,000. */
  readonly leaseTtlMs?: number
  /** Name of this instance among those that share the leases. Default: a random name. */
  readonly instanceId?: string
  /** Events that all subscriptions get as other events, or not at all. Create them with `replaceEvent` and `dropEvent`. */
  readonly replacements?: readonly EventReplacement[]
  /** Maximum duration of a `stop` that is called without `timeoutMs`, in milliseconds. Default 30,000. */
  readonly shutdownTimeoutMs?: number
  /** Create OpenTelemetry spans if an SDK is registered. Default true. */
  readonly enableTracing?: boolean
  /** Tracer to use instead of OpenTelemetry's global one. */
  readonly tracer?: OpenTelemetryApiTracer
  /** Report OpenTelemetry metrics of the subscriptions if an SDK is registered. Default true. */
  readonly enableMetrics?: boolean
  /** Meter to use instead of OpenTelemetry's global one. */
  readonly meter?: Meter
  /** Logger for failures; `console` (warnings and errors) by default. A pino logger works, too. */
  readonly logger?: Logger | FieldsFirstLogger
}

export const managerDefaults = {
  eventStore: undefined as EventFeed | undefined,
  checkpoints: undefined as CheckpointStore | undefined,
  eventBus: undefined as EventBus | undefined,
  deadLetters: undefined as SubscriptionDeadLetterStore | undefined,
  leases: undefined as LeaseStore | undefined,
  leaseTtlMs: 15_000,
  instanceId: undefined as string | undefined,
  replacements: [] as readonly EventReplacement[],
  shutdownTimeoutMs: 30_000,
  enableTracing: true,
  tracer: undefined as OpenTelemetryApiTracer | undefined,
  enableMetrics: true,
  meter: undefined as Meter | undefined,
  logger: undefined as Logger | FieldsFirstLogger | undefined,
}

export const managerRules: Readonly<Record<keyof typeof managerDefaults, OptionRule>> = {
  eventStore: objectWith('an EventStore', 'readPage', 'headPosition', 'onAppend', 'identity'),
  checkpoints: objectWith('a CheckpointStore', 'load', 'save'),
  eventBus: optional(objectWith('an EventBus', 'subscribeToAllEvents')),
  deadLetters: optional(objectWith('a SubscriptionDeadLetterStore', 'add', 'list')),
  leases: optional(objectWith('a LeaseStore', 'acquire', 'release', 'onRelease')),
  leaseTtlMs: durationMs,
  instanceId: optional(nonEmptyText),
  replacements: {
    rule: 'an array of what replaceEvent and dropEvent return, with at most one of each event class',
    isValid: areReplacements,
  },
  shutdownTimeoutMs: durationMs,
  ...observabilityRules,
  enableMetrics: booleanOption,
  meter: optional(
    objectWith('an OpenTelemetry meter', 'createObservableGauge', 'addBatchObservableCallback'),
  ),
}

function areReplacements(value: unknown): boolean {
  if (!Array.isArray(value)) return false
  const isReplacement = (item: unknown) =>
    typeof item === 'object' && item !== null && 'eventClass' in item && 'split' in item
  return value.every(isReplacement) && new Set(value.map((item) => item.eventClass)).size === value.length
}

/** The options of a manager, checked and with defaults applied. */
export interface ResolvedManagerOptions {
  readonly host: SubscriptionHost
  readonly bus: EventBus | undefined
  /** Undefined if metrics are off. */
  readonly meters: MeterSource | undefined
  readonly shutdownTimeoutMs: number
  readonly replacements: readonly EventReplacement[]
}

/** @throws ConfigError with every fault. */
export function resolveManagerOptions(options: SubscriptionManagerOptions): ResolvedManagerOptions {
  const { eventStore: store } = Object(options) as SubscriptionManagerOptions // checked by the next line
  const ofOutbox = isOutbox(store)
    ? { ...managerRules, checkpoints: optional(managerRules.checkpoints) }
    : managerRules
  const resolved = resolveOptions('SubscriptionManager', options, managerDefaults, ofOutbox)
  const { deadLetters, leaseTtlMs, instanceId = randomUUID(), enableTracing } = resolved
  const { replacements, shutdownTimeoutMs } = resolved
  const tracer = enableTracing ? new OpenTelemetryTracer(resolved.tracer) : noTracer
  const logger = resolveLogger(resolved.logger)
  const host = { store, ...progressOf(options), deadLetters, leaseTtlMs, instanceId, tracer, logger }
  const meters = resolved.enableMetrics ? new MeterSource(resolved.meter) : undefined
  return { host, bus: resolved.eventBus, meters, replacements, shutdownTimeoutMs }
}

/**
 * Returns the checkpoint store and the lease store. An outbox has its own of both, because it removes the events that
 * its relays have published.
 *
 * @throws ConfigError
 */
function progressOf({
  eventStore,
  checkpoints,
  leases,
}: SubscriptionManagerOptions): Pick<SubscriptionHost, 'checkpoints' | 'leases'> {
  if (!isOutbox(eventStore)) return { checkpoints: checkpoints as CheckpointStore, leases } // the rules require it
  const isForeign = (given: object | undefined, own: object) => given !== undefined && given !== own
  if (isForeign(checkpoints, eventStore.checkpoints) || isForeign(leases, eventStore.leases)) {
    throw new ConfigError('SubscriptionManager', [
      'an outbox has its own checkpoints and leases: omit checkpoints and leases',
    ])
  }
  return { checkpoints: eventStore.checkpoints, leases: eventStore.leases }
}
