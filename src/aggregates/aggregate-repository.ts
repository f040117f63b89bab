import { setTimeout as delay } from 'node:timers/promises'
import type { EventBus } from '../bus/index.ts'
import { toError } from '../errors.ts'
import { runWithoutCause } from '../events/causation.ts'
import { otherCopyFault } from '../events/copies.ts'
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
import type { AppendResult, EventStream, SnapshotStore, StreamStore } from '../store/index.ts'
import { AggregateRoot, classesHandledBy, markCommitted, restoreSnapshot } from './aggregate-root.ts'
import { AggregateNotFoundError, PublishAfterSaveError } from './errors.ts'
import { type SnapshotOptions, SnapshotPolicy } from './snapshot-policy.ts'

/** Creates an aggregate without events: its class, or a function. */
export type AggregateFactory<A extends AggregateRoot<unknown>> = (new (id: string) => A) | ((id: string) => A)

/** Options of an {@link AggregateRepository}. */
export interface AggregateRepositoryOptions<A extends AggregateRoot<unknown>> {
  /** The store of the aggregates' events. */
  readonly eventStore: StreamStore
  /** The class of the aggregates, or a function that creates an aggregate without events for an id. */
  readonly aggregateFactory: AggregateFactory<A>
  /** The `aggregateType` of the aggregate's event classes. */
  readonly aggregateType: string
  /** Publishes the events after they are stored. Omit it if a relay publishes them. */
  readonly eventPublisher?: Pick<EventBus, 'publish'>
  /** Takes and uses snapshots, so that a load reads fewer events. Default: no snapshots. */
  readonly snapshots?: SnapshotOptions
  /** Logger for failures of snapshots; `console` by default. */
  readonly logger?: Logger | FieldsFirstLogger
}

/** Options of `retryOnConflict`. */
export interface RetryOnConflictOptions {
  /** Maximum number of retries after the first attempt. Default 10. */
  readonly maxRetries?: number
}

export const repositoryRules: Readonly<Record<string, OptionRule>> = {
  eventStore: objectWith('an EventStore', 'appendEvents', 'getEvents', 'registerEvents'),
  aggregateFactory: { rule: 'a class or a function', isValid: (value) => typeof value === 'function' },
  aggregateType: nonEmptyText,
  eventPublisher: optional(objectWith('an EventBus', 'publish')),
  snapshots: optional({ rule: 'an object', isValid: (value) => typeof value === 'object' }),
  logger: observabilityRules.logger,
}

export const conflictDefaults = { maxRetries: 10 }

export const conflictRules = { maxRetries: nonNegativeInteger }

/** The part of a store's transaction that a repository needs. */
export interface RepositoryTransaction {
  readonly events: StreamStore
  readonly snapshots: SnapshotStore
}

/** Loads aggregates from their events, and saves the events that they raised. */
export class AggregateRepository<A extends AggregateRoot<unknown>> {
  readonly #options: AggregateRepositoryOptions<A>
  readonly #store: StreamStore
  readonly #factory: AggregateFactory<A>
  readonly #aggregateType: string
  readonly #publisher: Pick<EventBus, 'publish'> | undefined
  readonly #snapshots: SnapshotPolicy | undefined
  #isRegistered = false

  /** @throws ConfigError if an option is unknown, missing or wrong. */
  constructor(options: AggregateRepositoryOptions<A>) {
    const { eventStore, aggregateFactory, aggregateType, eventPublisher, snapshots, logger } = options
    resolveOptions('AggregateRepository', options, {}, repositoryRules)
    this.#options = options
    refuseOtherCopy(aggregateFactory)
    this.#options = options
    this.#store = eventStore
    this.#factory = aggregateFactory
    this.#aggregateType = aggregateType
    this.#publisher = eventPublisher
    this.#snapshots =
      snapshots && new SnapshotPolicy(snapshots, aggregateType, resolveLogger(logger ?? undefined))
  }

  /**
   * Returns this repository inside a transaction: its saves are committed with the transaction, or not at all. It uses
   * the transaction's own snapshot store, and publishes nothing: a relay publishes the committed events. After a
   * rollback, load the aggregates again.
   *
   * @example
   * await stores.transaction(async (tx) => {
   *   await orders.within(tx).save(order)
   *   await tx.client.query('insert into shipments values ($1)', [order.id])
   * })
   */
  within({ events, snapshots }: RepositoryTransaction): AggregateRepository<A> {
    const { eventPublisher: _publishedByRelay, ...options } = this.#options
    return new AggregateRepository({
      ...options,
      eventStore: events,
      ...(options.snapshots !== undefined && { snapshots: { ...options.snapshots, store: snapshots } }),
    })
  }

  /**
   * Creates an aggregate without storing it. `save` stores it, and fails if an aggregate with this id already exists.
   */
  createNew(id: string): A {
    return isClass(this.#factory) ? new this.#factory(id) : this.#factory(id)
  }

  /** The stored aggregate with this id. @throws AggregateNotFoundError */
  async load(id: string): Promise<A> {
    const aggregate = await this.loadOrCreate(id)
    if (aggregate.version === 0) throw new AggregateNotFoundError(this.#aggregateType, id)
    return aggregate
  }

  /** Loads the aggregate with this id, or creates one if there is none. */
  async loadOrCreate(id: string): Promise<A> {
    const snapshot = await this.#snapshots?.find(id)
    if (snapshot === undefined) return this.#replay(id)
    const aggregate = this.#makeKnown(this.createNew(id))
    const { events, version, isDeleted } = await this.#read(id, snapshot.version)
    // The snapshot is ahead of the store, so it belongs to events that this store does not have.
    if (isDeleted || version < snapshot.version) return this.#replay(id)
    restoreSnapshot(aggregate, snapshot.version, snapshot.state)
    aggregate.loadFromHistory(events)
    return aggregate
  }

  /** True if events of an aggregate with this id are stored. */
  async exists(id: string): Promise<boolean> {
    this.#makeKnown(this.createNew(id))
    const options = { aggregateType: this.#aggregateType, toVersion: 0 }
    const { version, isDeleted } = await this.#store.getEvents(id, options)
    return version > 0 && !isDeleted
  }

  /**
   * Stores the events that the aggregate raised, then publishes them in order.
   *
   * @returns version and position of the last event; undefined if there was nothing to save.
   * @throws OptimisticLockError if another writer saved the aggregate after it was loaded. In that case nothing is
   * stored or published, and the events are still uncommitted.
   * @throws PublishAfterSaveError if the events are stored but may not be published. A further save does not repeat them; a
   * relay publishes them.
   */
  async save(aggregate: A): Promise<AppendResult | undefined> {
    const events = aggregate.uncommittedEvents
    if (events.length === 0) return undefined
    this.#makeKnown(aggregate)
    const { id: aggregateId, version, state } = aggregate
    const result = await this.#store.appendEvents({
      aggregateId,
      aggregateType: this.#aggregateType,
      events,
      expectedVersion: version - events.length,
    })
    markCommitted(aggregate, events)
    try {
      // Publishes the events exactly as they are stored. Inside a handler, the bus would otherwise add a cause to
      // events that were raised outside of the handler.
      await runWithoutCause(() => this.#publisher?.publish(events))
    } catch (thrown) {
      throw new PublishAfterSaveError(events, result, toError(thrown))
    }
    await this.#snapshots?.afterSave({ aggregateId, version, state }, events.length)
    return result
  }

  /**
   * Loads an aggregate, runs a command on it and saves it. If another writer saved the aggregate in between, repeats all
   * three steps with a freshly loaded aggregate.
   *
   * @param command - may run several times. It throws an error to refuse the command.
   * @returns the result of `save`.
   * @throws AggregateNotFoundError
   * @throws OptimisticLockError if the last retry also has a conflict.
   * @throws what `save` and the command throw.
   * @example
   * await orders.retryOnConflict(id, (order) => order.place(42))
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
        if (!isConflict(error) || delayMs === undefined) throw error
        await delay(delayMs)
      }
    }
  }

  async #replay(id: string): Promise<A> {
    const aggregate = this.#makeKnown(this.createNew(id))
    const { events } = await this.#read(id, 0)
    aggregate.loadFromHistory(events)
    return aggregate
  }

  /** Registers the aggregate's event classes with the store before the store decodes the first event. */
  #makeKnown(aggregate: A): A {
    if (!this.#isRegistered) this.#store.registerEvents(classesHandledBy(aggregate))
    this.#isRegistered = true
    return aggregate
  }

  #read(id: string, fromVersion: number): Promise<EventStream> {
    return this.#store.getEvents(id, { aggregateType: this.#aggregateType, fromVersion })
  }
}

/** Full jitter, so that writers that conflicted once are unlikely to conflict again. */
function conflictPolicy(maxRetries: number): RetryPolicy {
  return new RetryPolicy({ maxRetries, retryBaseDelayMs: 5, retryMaxDelayMs: 250, retryJitter: 1 })
}

/** A class that extends the AggregateRoot of another copy of the package would be called as a function. */
function refuseOtherCopy<A extends AggregateRoot<unknown>>(factory: AggregateFactory<A>): void {
  const fault = isClass(factory) ? undefined : otherCopyFault(factory)
  if (fault !== undefined)
    throw new TypeError(`The aggregateFactory ${factory.name} cannot be used. ${fault}`)
}

/** The code is checked instead of the class, because the store may come from another copy of the package. */
function isConflict(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'OPTIMISTIC_LOCK'
}

function isClass<A extends AggregateRoot<unknown>>(
  factory: AggregateFactory<A>,
): factory is new (
  id: string,
) => A {
  return factory.prototype instanceof AggregateRoot
}
