import { setTimeout as delay } from 'node:timers/promises'
import type { EventBus } from '../bus/index.ts'
import { toError } from '../errors.ts'
import { observabilityRules } from '../kit/observability-options.ts'
import {
  nonEmptyText,
  nonNegativeInteger,
  type OptionRule,
  objectWith,
  optional,
  resolveOptions,
} from '../kit/options.ts'
import { RetryPolicy } from '../kit/retry-policy.ts'
import type { FieldsFirstLogger, Logger } from '../observability/logger.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { type AppendResult, type EventStore, type EventStream, OptimisticLockError } from '../store/index.ts'
import { AggregateRoot, markCommitted, restoreSnapshot } from './aggregate-root.ts'
import { AggregateNotFoundError, PublishAfterSaveError } from './errors.ts'
import { type SnapshotOptions, SnapshotPolicy } from './snapshot-policy.ts'

/** Makes an aggregate without events: its class, or a function. */
export type AggregateFactory<A extends AggregateRoot<unknown>> = (new (id: string) => A) | ((id: string) => A)

export interface AggregateRepositoryOptions<A extends AggregateRoot<unknown>> {
  readonly eventStore: EventStore
  readonly aggregateFactory: AggregateFactory<A>
  /** The `aggregateType` of the aggregate's event classes. */
  readonly aggregateType: string
  /** Gets the events after they were stored. Leave it out where a relay publishes them. */
  readonly eventPublisher?: Pick<EventBus, 'publish'>
  readonly snapshots?: SnapshotOptions
  /** Where failures of snapshots are reported; `console` by default. */
  readonly logger?: Logger | FieldsFirstLogger
}

export interface RetryOnConflictOptions {
  /** How often the command is tried again after the first time. Default 10. */
  readonly maxRetries?: number
}

const rules: Readonly<Record<string, OptionRule>> = {
  eventStore: objectWith('an EventStore', 'appendEvents', 'getEvents'),
  aggregateFactory: { rule: 'a class or a function', isValid: (value) => typeof value === 'function' },
  aggregateType: nonEmptyText,
  eventPublisher: optional(objectWith('an EventBus', 'publish')),
  snapshots: optional({ rule: 'an object', isValid: (value) => typeof value === 'object' }),
  logger: observabilityRules.logger,
}

const conflictDefaults = { maxRetries: 10 }

const conflictRules = { maxRetries: nonNegativeInteger }

/** Loads aggregates from their events, and saves what they raised. */
export class AggregateRepository<A extends AggregateRoot<unknown>> {
  readonly #store: EventStore
  readonly #factory: AggregateFactory<A>
  readonly #aggregateType: string
  readonly #publisher: Pick<EventBus, 'publish'> | undefined
  readonly #snapshots: SnapshotPolicy | undefined

  /** @throws ConfigError when an option is unknown, missing or wrong. */
  constructor(options: AggregateRepositoryOptions<A>) {
    const { eventStore, aggregateFactory, aggregateType, eventPublisher, snapshots, logger } = options
    resolveOptions('AggregateRepository', options, {}, rules)
    this.#store = eventStore
    this.#factory = aggregateFactory
    this.#aggregateType = aggregateType
    this.#publisher = eventPublisher
    this.#snapshots = snapshots && new SnapshotPolicy(snapshots, aggregateType, resolveLogger(logger))
  }

  /** A new aggregate. Nothing is stored before `save`, which fails if somebody else has stored one by then. */
  createNew(id: string): A {
    return isClass(this.#factory) ? new this.#factory(id) : this.#factory(id)
  }

  /** @throws AggregateNotFoundError */
  async load(id: string): Promise<A> {
    const aggregate = await this.loadOrCreate(id)
    if (aggregate.version === 0) throw new AggregateNotFoundError(this.#aggregateType, id)
    return aggregate
  }

  /** The aggregate with this id, or a new one. */
  async loadOrCreate(id: string): Promise<A> {
    const snapshot = await this.#snapshots?.find(id)
    if (snapshot === undefined) return this.#replay(id)
    const { events, version } = await this.#read(id, snapshot.version)
    // Ahead of the store: a snapshot of events that this store does not have.
    if (version < snapshot.version) return this.#replay(id)
    const aggregate = this.createNew(id)
    restoreSnapshot(aggregate, snapshot.version, snapshot.state)
    aggregate.loadFromHistory(events)
    return aggregate
  }

  async exists(id: string): Promise<boolean> {
    const { version } = await this.#store.getEvents(id, { aggregateType: this.#aggregateType, toVersion: 0 })
    return version > 0
  }

  /**
   * Stores what the aggregate raised, then publishes it in order.
   *
   * @returns version and position of the last event; undefined when there was nothing to save.
   * @throws OptimisticLockError when somebody else has saved the aggregate since it was loaded: nothing was stored or
   * published, and the events are still uncommitted.
   * @throws PublishAfterSaveError when the events are stored and may not be published. A further save does not repeat
   * them; a relay publishes them.
   */
  async save(aggregate: A): Promise<AppendResult | undefined> {
    const events = aggregate.uncommittedEvents
    if (events.length === 0) return undefined
    const { id: aggregateId, version, state } = aggregate
    const result = await this.#store.appendEvents({
      aggregateId,
      aggregateType: this.#aggregateType,
      events,
      expectedVersion: version - events.length,
    })
    markCommitted(aggregate, events)
    try {
      await this.#publisher?.publish(events)
    } catch (thrown) {
      throw new PublishAfterSaveError(events, result, toError(thrown))
    }
    await this.#snapshots?.afterSave({ aggregateId, version, state }, events.length)
    return result
  }

  /**
   * Loads an aggregate, runs a command on it and saves it; once more from the beginning, with a fresh aggregate, as
   * long as somebody else saves it in between.
   *
   * @param command - may run several times; throws to refuse.
   * @returns what `save` returned.
   * @throws AggregateNotFoundError, OptimisticLockError when the conflicts do not end, and what `save` and the command throw.
   * @example
   * await orders.retryOnConflict(id, (order) => order.ship('TRACK-1'))
   */
  async retryOnConflict(
    id: string,
    command: (aggregate: A) => void | Promise<void>,
    options: RetryOnConflictOptions = {},
  ): Promise<AppendResult | undefined> {
    const { maxRetries } = resolveOptions('retryOnConflict', options, conflictDefaults, conflictRules)
    const retryPolicy = conflictPolicy(maxRetries)
    for (let attempt = 1; ; attempt += 1) {
      const aggregate = await this.load(id)
      await command(aggregate)
      try {
        return await this.save(aggregate)
      } catch (error) {
        const delayMs = retryPolicy.delayAfter(attempt)
        if (!(error instanceof OptimisticLockError) || delayMs === undefined) throw error
        await delay(delayMs)
      }
    }
  }

  async #replay(id: string): Promise<A> {
    const aggregate = this.createNew(id)
    const { events } = await this.#read(id, 0)
    aggregate.loadFromHistory(events)
    return aggregate
  }

  #read(id: string, fromVersion: number): Promise<EventStream> {
    return this.#store.getEvents(id, { aggregateType: this.#aggregateType, fromVersion })
  }
}

/** Writers that met once are spread, so that they do not meet again. */
function conflictPolicy(maxRetries: number): RetryPolicy {
  return new RetryPolicy({ maxRetries, retryBaseDelayMs: 5, retryMaxDelayMs: 250, retryJitter: 1 })
}

function isClass<A extends AggregateRoot<unknown>>(
  factory: AggregateFactory<A>,
): factory is new (
  id: string,
) => A {
  return factory.prototype instanceof AggregateRoot
}
