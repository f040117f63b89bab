import { ConfigError, EventspineError, toError } from '../errors.ts'
import { type DomainEvent, type EventClass, EventRegistry } from '../events/index.ts'
import type { HandlerContext } from '../handling/event-handler.ts'
import type { HandlerEntry, SubscribeOptions } from '../handling/handler-entry.ts'
import { HandlerRegistry } from '../handling/handler-registry.ts'
import { idempotencyKeyOf } from '../handling/once.ts'
import { StoreOutcomeUnknownError } from '../store/index.ts'
import type { Checkpoint, CheckpointStore } from './checkpoint-store.ts'
import type { ParkedEvent, SubscriptionDeadLetterStore } from './dead-letter-store.ts'
import { CheckpointConflictError } from './errors.ts'
import { type FeedMark, markOf } from './feed-mark.ts'
import type { HandlerBinding } from './handler-binding.ts'
import { type InboxContext, InboxRun } from './inbox.ts'
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
  /** Empties the read model, so that `rebuild` can fill it again. The checkpoint moves in the same transaction. */
  readonly reset?: (tx: StoreTransaction<Client>) => unknown
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

/** What a projection needs of its stores. */
export interface TransactionalProjectionParts<Client> {
  readonly transaction: <T>(work: (tx: StoreTransaction<Client>) => Promise<T>) => Promise<T>
  readonly checkpoints: CheckpointStore
  readonly deadLetters: SubscriptionDeadLetterStore
}

/**
 * A projection whose writes and checkpoint are committed in one transaction, so that each event has its effect exactly once:
 * created by `stores.projection`, and passed to `manager.subscribe`.
 */
export class TransactionalProjection {
  readonly name: string
  /** @internal */
  readonly unitsFor: (name: string) => TransactionalUnits

  private constructor(name: string, unitsFor: (name: string) => TransactionalUnits) {
    this.name = name
    this.unitsFor = unitsFor
  }

  /** For stores of your own: implements `projection` on their transactions. */
  static create<Client>(
    parts: TransactionalProjectionParts<Client>,
    options: TransactionalProjectionOptions<Client>,
  ): TransactionalProjection {
    return new TransactionalProjection(options.name, (name) => new ProjectionUnits(name, parts, options))
  }
}

/** The handlers of units that run in transactions. */
export interface BoundUnits {
  readonly handlersFor: (unit: Unit) => readonly HandlerEntry[]
  /** Stores a parked event, and moves the checkpoint past it, in one transaction. */
  readonly park: ((parked: ParkedEvent) => Promise<void>) | undefined
  /** True for a failure of the stores, as opposed to one of a handler: it is retried without a limit. */
  readonly isOutage: (error: Error) => boolean
}

/** What a subscription knows of a transactional projection. */
export interface TransactionalUnits {
  readonly isBatch: boolean
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
}

/** Runs in the transaction of a unit, before the handlers. @returns false if there is nothing to do. */
type Claim<Client> = (tx: StoreTransaction<Client>) => Promise<boolean>

class ProjectionUnits<Client> implements TransactionalUnits {
  readonly isBatch: boolean
  readonly canReset: boolean
  readonly checkpoints: CheckpointStore
  readonly deadLetters: SubscriptionDeadLetterStore
  readonly #name: string
  readonly #parts: TransactionalProjectionParts<Client>
  readonly #options: TransactionalProjectionOptions<Client>
  readonly #registry = new HandlerRegistry(new EventRegistry(), { needsNames: true })
  readonly #outages = new WeakSet<Error>()

  constructor(
    name: string,
    parts: TransactionalProjectionParts<Client>,
    options: TransactionalProjectionOptions<Client>,
  ) {
    this.#name = name
    this.#parts = parts
    this.#options = options
    this.isBatch = options.transactionPer === 'batch'
    this.canReset = options.reset !== undefined
    this.checkpoints = parts.checkpoints
    this.deadLetters = parts.deadLetters
    for (const { eventClasses, handler, options: given = {} } of options.handlers) {
      refusePolicy(name, given)
      this.#registry.subscribe(eventClasses, handler, given)
    }
  }

  get eventClasses(): readonly EventClass[] {
    return this.#registry.subscribedClasses()
  }

  get replayed(): BoundUnits {
    const remove = ([{ position }]: Unit): Claim<Client> => {
      return (tx) => tx.deadLetters.remove(this.#name, position)
    }
    return this.#bound((unit, context) => this.#transact(unit, context, remove(unit)))
  }

  bind(checkpoint: UnitCheckpoint): BoundUnits {
    const moving = new MovingUnits(checkpoint, () => this.#load())
    const run = (unit: Unit, context: HandlerContext) =>
      moving.through(lastMark(unit), context.signal, (next, previous) =>
        this.#transact(unit, context, async (tx) => {
          await tx.checkpoints.advance(this.#name, next, previous)
          return true
        }),
      )
    const park = (parked: ParkedEvent) => {
      const mark = { position: parked.position, eventId: parked.event.eventId }
      return moving.through(mark, NEVER, (next, previous) =>
        this.#parts.transaction(async (tx) => {
          await tx.checkpoints.advance(this.#name, next, previous)
          await tx.deadLetters.add(parked)
        }),
      )
    }
    return { ...this.#bound(run), park }
  }

  async reset(checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    await this.#parts.transaction(async (tx) => {
      await tx.checkpoints.save(this.#name, checkpoint, previous)
      await this.#options.reset?.(tx)
    })
  }

  #bound(run: (unit: Unit, context: HandlerContext) => Promise<void>): BoundUnits {
    return {
      handlersFor: (unit) => this.#entriesFor(unit, run),
      park: undefined,
      isOutage: (error) => this.#outages.has(error),
    }
  }

  #entriesFor(
    unit: Unit,
    run: (unit: Unit, context: HandlerContext) => Promise<void>,
  ): readonly HandlerEntry[] {
    if (unit.every(({ event }) => this.#registry.handlersFor(event.eventType).length === 0)) return []
    const name = this.#name
    const invoke: HandlerEntry['invoke'] = (_first, context) => run(unit, context)
    const common = { aliases: [], handler: this, accepts: undefined, policy: undefined, limit: undefined }
    return [{ name, id: name, ...common, invoke }]
  }

  /** Runs the handlers of a unit in a transaction. */
  async #transact(unit: Unit, context: HandlerContext, claim: Claim<Client>): Promise<void> {
    let isOfHandler = false
    try {
      await this.#parts.transaction(async (tx) => {
        if (!(await claim(tx))) return
        isOfHandler = true
        context.signal.throwIfAborted()
        for (const { event } of unit) await this.#handle(event, context, tx)
        // The attempt has failed already, and will be repeated: nothing of it may stay.
        context.signal.throwIfAborted()
        isOfHandler = false
      })
    } catch (thrown) {
      const error = toError(thrown)
      if (!isOfHandler) this.#noteOutage(error)
      throw error
    }
  }

  async #load(): Promise<Checkpoint | undefined> {
    try {
      return await this.checkpoints.load(this.#name)
    } catch (thrown) {
      this.#noteOutage(toError(thrown))
      throw thrown
    }
  }

  #noteOutage(error: Error): void {
    if (error instanceof EventspineError && error.retryable) this.#outages.add(error)
  }

  async #handle(event: DomainEvent, context: HandlerContext, tx: StoreTransaction<Client>): Promise<void> {
    const run = new InboxRun(context, tx, idempotencyKeyOf(this.#name, event))
    for (const { accepts, invoke } of this.#registry.handlersFor(event.eventType)) {
      if (accepts === undefined || accepts(event)) await invoke(event, run)
    }
  }
}

/** The handlers of a unit share its transaction, so one of them cannot be retried alone. */
function refusePolicy(
  subscription: string,
  { name: _name, aliases: _aliases, ...policy }: SubscribeOptions,
): void {
  const options = Object.keys(policy)
  if (options.length === 0) return
  throw new ConfigError(`projection ${subscription}`, [
    `${options.join(', ')} of a handler must be set for the whole subscription, because its handlers share a transaction`,
  ])
}

/** Never aborts. */
const NEVER = new AbortController().signal

/** Moves the checkpoint of a running subscription by transactions. */
class MovingUnits {
  readonly #checkpoint: UnitCheckpoint
  readonly #load: () => Promise<Checkpoint | undefined>
  /** The position of a transaction whose commit had no answer. */
  #inDoubt: number | undefined

  constructor(checkpoint: UnitCheckpoint, load: () => Promise<Checkpoint | undefined>) {
    this.#checkpoint = checkpoint
    this.#load = load
  }

  /** Runs a transaction that moves the checkpoint to the mark, unless an earlier attempt has committed it. */
  async through(
    mark: FeedMark,
    signal: AbortSignal,
    transact: (next: Checkpoint, previous: number | undefined) => Promise<void>,
  ): Promise<void> {
    const checkpoint = this.#checkpoint
    const next = checkpoint.at(mark)
    await checkpoint.exclusively(async () => {
      if (await this.#wasCommitted(next)) return checkpoint.adopt(next)
      try {
        await transact(next, checkpoint.saved?.position)
      } catch (thrown) {
        if (thrown instanceof StoreOutcomeUnknownError) this.#inDoubt = next.position
        if (!(thrown instanceof CheckpointConflictError)) throw thrown
        // The commit without an answer may have come through only now.
        if (!(await this.#wasCommitted(next))) {
          checkpoint.conflict(thrown)
          throw thrown
        }
      }
      checkpoint.adopt(next)
    }, signal)
  }

  async #wasCommitted({ position, eventId, fence }: Checkpoint): Promise<boolean> {
    if (this.#inDoubt !== position) return false
    const found = await this.#load()
    return found?.position === position && found.eventId === eventId && found.fence === fence
  }
}

function lastMark(unit: Unit): FeedMark {
  return markOf(unit.at(-1) ?? unit[0])
}
