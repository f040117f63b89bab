import { ConfigError, EventspineError, toError } from '../errors.ts'
import { type DomainEvent, type EventClass, EventRegistry } from '../events/index.ts'
import type { HandlerContext } from '../handling/event-handler.ts'
import type { HandlerEntry, SubscribeOptions } from '../handling/handler-entry.ts'
import { HandlerRegistry } from '../handling/handler-registry.ts'
import { idempotencyKeyOf } from '../handling/once.ts'
import { TransactionRun } from '../handling/transaction-run.ts'
import type { Checkpoint, CheckpointStore } from './checkpoint-store.ts'
import type { ParkedEvent, SubscriptionDeadLetterStore } from './dead-letter-store.ts'
import { type FeedMark, markOf } from './feed-mark.ts'
import { MovingUnits } from './moving-units.ts'
import { moveParked } from './parked-pages.ts'
import { ProjectionAside } from './projection-aside.ts'
import type { StoreTransaction } from './store-transaction.ts'
import type {
  BoundUnits,
  TransactionalProjectionOptions,
  TransactionalProjectionParts,
  TransactionalUnits,
  UnitsAside,
} from './transactional-units.ts'
import type { Unit } from './unit.ts'
import type { UnitCheckpoint } from './unit-checkpoint.ts'

/** Runs in the transaction of a unit, before the handlers. @returns false if there is nothing to do. */
type Claim<Client> = (tx: StoreTransaction<Client>) => Promise<boolean>

type RunUnit = (unit: Unit, whole: Unit, context: HandlerContext) => Promise<void>

export interface ProjectionUnitsParts<Client> {
  /** Name of the subscription. */
  readonly name: string
  /** Name of the checkpoint and of the dead-lettered events. Default: the name of the subscription. */
  readonly checkpointName?: string
  readonly parts: TransactionalProjectionParts<Client>
  readonly options: TransactionalProjectionOptions<Client>
}

/** The handlers of a transactional projection, under the name of a subscription. */
export class ProjectionUnits<Client> implements TransactionalUnits {
  readonly isBatch: boolean
  readonly isInline: boolean
  readonly canReset: boolean
  readonly checkpoints: CheckpointStore
  readonly deadLetters: SubscriptionDeadLetterStore
  readonly #name: string
  readonly #checkpointName: string
  readonly #parts: TransactionalProjectionParts<Client>
  readonly #options: TransactionalProjectionOptions<Client>
  readonly #registry = new HandlerRegistry(new EventRegistry(), { needsNames: true })
  readonly #outages = new WeakSet<Error>()

  constructor({ name, checkpointName = name, parts, options }: ProjectionUnitsParts<Client>) {
    this.#name = name
    this.#checkpointName = checkpointName
    this.#parts = parts
    this.#options = options
    this.isBatch = options.transactionPer === 'batch'
    this.isInline = options.inline === true
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
    return this.#bound((unit, [{ position }], context) =>
      this.#transact(unit, context, (tx) => tx.deadLetters.remove(this.#checkpointName, position)),
    )
  }

  bind(checkpoint: UnitCheckpoint): BoundUnits {
    const name = this.#checkpointName
    const moving = new MovingUnits(checkpoint, () => this.#load())
    const run: RunUnit = (unit, whole, context) =>
      moving.through(lastMark(whole), context.signal, (next, previous) =>
        this.#transact(unit, context, async (tx) => {
          await tx.checkpoints.advance(name, next, previous)
          return true
        }),
      )
    const park = (parked: ParkedEvent) => {
      const mark = { position: parked.position, eventId: parked.event.eventId }
      return moving.through(mark, NEVER, (next, previous) =>
        this.#parts.transaction(async (tx) => {
          await tx.checkpoints.advance(name, next, previous)
          await tx.deadLetters.add({ ...parked, subscription: name })
        }),
      )
    }
    return { ...this.#bound(run), park }
  }

  async reset(checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    await this.#parts.transaction(async (tx) => {
      await tx.checkpoints.save(this.#checkpointName, checkpoint, previous)
      // They are handled again with all other events. A replay afterwards would be a second effect.
      await moveParked(tx.deadLetters, this.#checkpointName, undefined)
      await this.#options.reset?.(tx)
    })
  }

  aside(): UnitsAside {
    const [name, parts, options] = [this.#name, this.#parts, this.#options]
    const checkpointName = `${name} (rebuild)`
    const units = new ProjectionUnits({ name, checkpointName, parts, options })
    return new ProjectionAside({ name, checkpointName, units, parts, options })
  }

  /** @returns the handling of an event in the transaction that appends it. @throws ConfigError without the option. */
  inlineIn(tx: StoreTransaction<Client>): (event: DomainEvent) => Promise<void> {
    if (!this.isInline) {
      throw new ConfigError(`projection ${this.#name}`, ['inline(tx) requires the option inline: true'])
    }
    const context = { ...INLINE_CONTEXT, consumerGroup: this.#name }
    return async (event) => {
      await this.#handle(event, context, tx)
      this.#parts.onRecorded?.()
    }
  }

  #bound(run: RunUnit): BoundUnits {
    return {
      handlersFor: (unit, whole = unit) => this.#entriesFor(unit, whole, run),
      park: undefined,
      isOutage: (error) => this.#outages.has(error),
    }
  }

  #entriesFor(unit: Unit, whole: Unit, run: RunUnit): readonly HandlerEntry[] {
    if (unit.every(({ event }) => this.#registry.handlersFor(event.eventType).length === 0)) return []
    const name = this.#name
    const invoke: HandlerEntry['invoke'] = (_first, context) => run(unit, whole, context)
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
    if (this.isInline) this.#parts.onRecorded?.()
  }

  async #load(): Promise<Checkpoint | undefined> {
    try {
      return await this.checkpoints.load(this.#checkpointName)
    } catch (thrown) {
      this.#noteOutage(toError(thrown))
      throw thrown
    }
  }

  #noteOutage(error: Error): void {
    if (error instanceof EventspineError && error.retryable) this.#outages.add(error)
  }

  async #handle(event: DomainEvent, context: HandlerContext, tx: StoreTransaction<Client>): Promise<void> {
    const handlers = this.#registry.handlersFor(event.eventType)
    if (handlers.length === 0) return
    if (this.isInline && !(await tx.inbox.add(this.#name, event.eventId))) return
    const run = new TransactionRun(context, tx, idempotencyKeyOf(this.#name, event))
    for (const { accepts, invoke } of handlers) {
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

const INLINE_CONTEXT = { signal: NEVER, attempt: 1, deliveryCount: 1, messageId: undefined }

function lastMark(unit: Unit): FeedMark {
  return markOf(unit.at(-1) ?? unit[0])
}
