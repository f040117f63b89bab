import { toError } from '../errors.ts'
import { objectWith, positiveInteger, resolveOptions } from '../kit/options.ts'
import type { Logger } from '../observability/logger.ts'
import type { Snapshot, SnapshotStore } from '../store/index.ts'

/** Where snapshots are stored, and how often one is taken. */
export interface SnapshotOptions {
  /** Stores the snapshots. */
  readonly store: SnapshotStore
  /** A save takes a snapshot if it reaches or passes a multiple of this version. Default 100. */
  readonly everyEvents?: number
  /** Version of the state's shape. Increase it with each change; older snapshots are then ignored. Default 1. */
  readonly schemaVersion?: number
}

export const snapshotDefaults = {
  store: undefined as SnapshotStore | undefined,
  everyEvents: 100,
  schemaVersion: 1,
}

export const snapshotRules = {
  store: objectWith('a SnapshotStore', 'load', 'save'),
  everyEvents: positiveInteger,
  schemaVersion: positiveInteger,
}

/** An aggregate at one version. */
export interface AggregateState {
  readonly aggregateId: string
  readonly version: number
  readonly state: unknown
}

/** Stores and finds snapshots. Failures are logged and not thrown, because a snapshot only saves time. */
export class SnapshotPolicy {
  readonly #store: SnapshotStore
  readonly #everyEvents: number
  readonly #schemaVersion: number
  readonly #aggregateType: string
  readonly #logger: Logger

  /** @throws ConfigError if an option is unknown, missing or wrong. */
  constructor(options: SnapshotOptions, aggregateType: string, logger: Logger) {
    const { everyEvents, schemaVersion } = resolveOptions(
      'snapshots',
      options,
      snapshotDefaults,
      snapshotRules,
    )
    this.#store = options.store
    this.#everyEvents = everyEvents
    this.#schemaVersion = schemaVersion
    this.#aggregateType = aggregateType
    this.#logger = logger
  }

  /** The snapshot of an aggregate; undefined if there is none of the current schema version. */
  async find(aggregateId: string): Promise<Snapshot | undefined> {
    try {
      const snapshot = await this.#store.load(this.#aggregateType, aggregateId)
      return snapshot?.schemaVersion === this.#schemaVersion ? snapshot : undefined
    } catch (thrown) {
      this.#warn('reading a snapshot failed, reading all events instead', aggregateId, thrown)
      return undefined
    }
  }

  /** Takes a snapshot if the events that were just saved passed a multiple of `everyEvents`. */
  async afterSave(aggregate: AggregateState, savedEvents: number): Promise<void> {
    const multiples = (version: number) => Math.floor(version / this.#everyEvents)
    if (multiples(aggregate.version) === multiples(aggregate.version - savedEvents)) return
    try {
      await this.#store.save({
        ...aggregate,
        aggregateType: this.#aggregateType,
        schemaVersion: this.#schemaVersion,
        takenAt: new Date(),
      })
    } catch (thrown) {
      this.#warn('saving a snapshot failed', aggregate.aggregateId, thrown)
    }
  }

  #warn(message: string, aggregateId: string, thrown: unknown): void {
    this.#logger.warn(message, { aggregateType: this.#aggregateType, aggregateId, error: toError(thrown) })
  }
}
