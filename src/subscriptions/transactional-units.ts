import { ConfigError } from '../errors.ts'
import type { EventClass } from '../events/index.ts'
import type { HandlerEntry } from '../handling/handler-entry.ts'
import {
  booleanOption,
  checkedOptions,
  functionOption,
  nonEmptyText,
  type OptionRule,
  oneOf,
  optional,
} from '../kit/options.ts'
import type { Checkpoint, CheckpointStore } from './checkpoint-store.ts'
import type { ParkedEvent, SubscriptionDeadLetterStore } from './dead-letter-store.ts'
import type { HandlerBinding } from './handler-binding.ts'
import type { InboxContext } from './inbox.ts'
import type { StoreTransaction } from './store-transaction.ts'
import type { Unit } from './unit.ts'
import type { UnitCheckpoint } from './unit-checkpoint.ts'

/** Options of `stores.projection`. */
export interface TransactionalProjectionOptions<Client = unknown> {
  /** Name of the subscription, which identifies its checkpoint. */
  readonly name: string
  /** Created with `handlerFor`. Each receives `tx`, the transaction that also moves the checkpoint. */
  readonly handlers: readonly HandlerBinding<InboxContext<Client>>[]
  /**
   * `'event'` (default): one transaction per event. `'batch'`: one per page of `batchSize` events, which is several times as
   * fast; if a batch keeps failing, its events are handled one by one.
   */
  readonly transactionPer?: 'event' | 'batch'
  /**
   * Empties the read model, so that `rebuild` can fill it again. The checkpoint moves, and the dead-lettered events of the
   * projection are removed, in the same transaction.
   */
  readonly reset?: (tx: StoreTransaction<Client>) => unknown
  /**
   * Moves the readers to the read model of this projection, for example by replacing a view. Called when the projection
   * replaces another one (`rebuild` with `into`), in the transaction that also moves the checkpoint.
   */
  readonly switchReaders?: (tx: StoreTransaction<Client>) => unknown
  /**
   * True if transactions that append events also handle them, by `projection.inline(tx)`. The inbox then records each
   * handled event, and the subscription skips recorded events. Default false.
   */
  readonly inline?: boolean
}

const handlersRule: OptionRule = { rule: 'an array of what handlerFor returns', isValid: Array.isArray }
const projectionRules: Readonly<Record<keyof TransactionalProjectionOptions, OptionRule>> = {
  name: nonEmptyText,
  handlers: handlersRule,
  transactionPer: optional(oneOf('event', 'batch')),
  reset: optional(functionOption),
  switchReaders: optional(functionOption),
  inline: optional(booleanOption),
}

/** @throws ConfigError */
export function checkedProjection<Client>(
  options: TransactionalProjectionOptions<Client>,
): TransactionalProjectionOptions<Client> {
  return checkedOptions('stores.projection', options, projectionRules)
}

/** What a projection needs of its stores. */
export interface TransactionalProjectionParts<Client> {
  readonly transaction: <T>(work: (tx: StoreTransaction<Client>) => Promise<T>) => Promise<T>
  readonly checkpoints: CheckpointStore
  readonly deadLetters: SubscriptionDeadLetterStore
  /** Called after the projection has added records to the inbox, so that old records can be removed. */
  readonly onRecorded?: () => void
}

/** The handlers of units that run in transactions. */
export interface BoundUnits {
  readonly handlersFor: HandlersFor
  /** Stores a parked event, and moves the checkpoint past it, in one transaction. */
  readonly park: ((parked: ParkedEvent) => Promise<void>) | undefined
  /** True for a failure of the stores, as opposed to one of a handler: it is retried without a limit. */
  readonly isOutage: (error: Error) => boolean
}

/**
 * The handlers of an event, or of a batch.
 * @param whole - the unit as it is stored, if other events replace some of it. Default: the unit.
 */
export type HandlersFor = (unit: Unit, whole?: Unit) => readonly HandlerEntry[]

/** What a subscription knows of a transactional projection. */
export interface TransactionalUnits {
  readonly isBatch: boolean
  readonly isInline: boolean
  readonly eventClasses: readonly EventClass[]
  readonly canReset: boolean
  /** The stores that the manager must have, too. */
  readonly checkpoints: CheckpointStore
  readonly deadLetters: SubscriptionDeadLetterStore
  /** For a running subscription: each unit moves the checkpoint. */
  bind(checkpoint: UnitCheckpoint): BoundUnits
  /** For the replay of a parked event, which is removed in the transaction. */
  readonly replayed: BoundUnits
  /** Moves the checkpoint and resets the read model in one transaction. */
  reset(checkpoint: Checkpoint, previous: number | undefined): Promise<void>
  /** The same projection with a checkpoint of its own, which is filled while another one serves the readers. */
  aside(): UnitsAside
}

/** A projection that is filled until it replaces another one of the same name. */
export interface UnitsAside {
  /** Name of its checkpoint and of its dead-lettered events, until it replaces the other one. */
  readonly checkpointName: string
  readonly units: TransactionalUnits
  /**
   * Replaces the other projection in one transaction: moves its checkpoint and the readers, and replaces its dead-lettered events.
   * Repeats a transaction whose outcome is unknown until it is known, or until the signal aborts.
   *
   * @param own - the checkpoint of this projection.
   */
  takePlace(own: UnitCheckpoint, place: PlaceToTake, signal: AbortSignal): Promise<void>
}

/** The checkpoint of a projection that is replaced. */
export interface PlaceToTake {
  readonly checkpoint: Checkpoint
  readonly previous: number | undefined
}

/**
 * Refuses what would separate the writes of a projection from its checkpoint.
 * @throws ConfigError
 */
export function checkTransactional(
  name: string,
  units: TransactionalUnits,
  { checkpoints, deadLetters }: ManagerStores,
  concurrency: number,
): void {
  const faults = [
    ...(checkpoints === units.checkpoints ? [] : ['the manager needs the checkpoints of the same stores']),
    ...(deadLetters === undefined || deadLetters === units.deadLetters
      ? []
      : ['the manager needs the deadLetters of the same stores, or none']),
    ...(concurrency === 1 ? [] : ['concurrency must be 1, because each transaction moves the checkpoint']),
  ]
  if (faults.length > 0) throw new ConfigError(`subscription ${name}`, faults)
}

interface ManagerStores {
  readonly checkpoints: CheckpointStore
  readonly deadLetters: SubscriptionDeadLetterStore | undefined
}
