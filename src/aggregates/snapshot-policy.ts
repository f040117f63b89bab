import { toError } from '../errors.ts'
import { objectWith, positiveInteger, resolveOptions } from '../kit/options.ts'
import type { Logger } from '../observability/logger.ts'
import type { Snapshot, SnapshotStore } from '../store/index.ts'

/** Where snapshots are kept, and how often one is taken. */
export interface SnapshotOptions {
  readonly store: SnapshotStore
  /** A snapshot is taken by the save that reaches or passes a multiple of this version. Default 100. */
  readonly everyEvents?: number
  /** Version of the state's shape: raise it with each change, and the old snapshots are left aside. Default 1. */
  readonly schemaVersion?: number
}

const defaults = { store: undefined as SnapshotStore | undefined, everyEvents: 100, schemaVersion: 1 }

const rules = {
  store: objectWith('a SnapshotStore', 'load', 'save'),
  everyEvents: positiveInteger,
  schemaVersion: positiveInteger,
}

/** An aggregate as it is at one moment. */
export interface Moment {
  readonly aggregateId: string
  readonly version: number
  readonly state: unknown
}

/** Takes and finds snapshots. They only save time: none of their failures fails what they are for. */
export class SnapshotPolicy {
  readonly #store: SnapshotStore
  readonly #everyEvents: number
  readonly #schemaVersion: number
  readonly #aggregateType: string
  readonly #logger: Logger

  /** @throws ConfigError when an option is unknown, missing or wrong. */
  constructor(options: SnapshotOptions, aggregateType: string, logger: Logger) {
    const { everyEvents, schemaVersion } = resolveOptions('snapshots', options, defaults, rules)
    this.#store = options.store
    this.#everyEvents = everyEvents
    this.#schemaVersion = schemaVersion
    this.#aggregateType = aggregateType
    this.#logger = logger
  }

  /** The snapshot of an aggregate, if there is one of the present schema version. */
  async find(aggregateId: string): Promise<Snapshot | undefined> {
    try {
      const snapshot = await this.#store.load(this.#aggregateType, aggregateId)
      return snapshot?.schemaVersion === this.#schemaVersion ? snapshot : undefined
    } catch (thrown) {
      this.#warn('reading a snapshot failed, all events are read instead', aggregateId, thrown)
      return undefined
    }
  }

  /** Takes a snapshot if the events that were just saved passed a multiple of `everyEvents`. */
  async afterSave(moment: Moment, savedEvents: number): Promise<void> {
    const multiples = (version: number) => Math.floor(version / this.#everyEvents)
    if (multiples(moment.version) === multiples(moment.version - savedEvents)) return
    try {
      await this.#store.save({
        ...moment,
        aggregateType: this.#aggregateType,
        schemaVersion: this.#schemaVersion,
        takenAt: new Date(),
      })
    } catch (thrown) {
      this.#warn('taking a snapshot failed', moment.aggregateId, thrown)
    }
  }

  #warn(sentence: string, aggregateId: string, thrown: unknown): void {
    this.#logger.warn(sentence, { aggregateType: this.#aggregateType, aggregateId, error: toError(thrown) })
  }
}
