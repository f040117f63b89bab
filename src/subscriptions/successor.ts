import type { Checkpoint } from './checkpoint-store.ts'
import type { FeedMark } from './feed-mark.ts'
import type { FeedSubscription } from './feed-subscription.ts'
import { boundTo, type Consumer } from './projection.ts'
import type { TransactionalUnits, UnitsAside } from './transactional-units.ts'
import type { UnitCheckpoint } from './unit-checkpoint.ts'

/** A projection that is filled in order to replace the current one of a subscription. */
export interface Successor {
  /** Empties the read model. */
  begin(): Promise<void>
  /** The consumer to run. @param onConflict - called if another instance fills the same projection. */
  consumer(onConflict: (error: Error) => void): Consumer
  /**
   * Moves the checkpoint of the subscription.
   * @param fence - the fencing number that the subscription had while it ran.
   */
  takePlace(position: number, fence: number | undefined): Promise<void>
}

export async function successorOf(subscription: FeedSubscription, fresh: Consumer): Promise<Successor> {
  if (fresh.transactional === undefined) {
    return {
      begin: async () => void (await fresh.reset?.()),
      consumer: () => fresh,
      takePlace: (position) => moveCheckpoint(subscription, position),
    }
  }
  const storeId = await subscription.host.store.identity()
  return new TransactionalSuccessor(subscription, fresh, fresh.transactional.aside(), storeId)
}

/** Each of its transactions also moves a checkpoint of its own. */
class TransactionalSuccessor implements Successor {
  readonly #subscription: FeedSubscription
  readonly #fresh: Consumer
  readonly #aside: UnitsAside
  readonly #checkpoint: CheckpointAside

  constructor(subscription: FeedSubscription, fresh: Consumer, aside: UnitsAside, storeId: string) {
    this.#subscription = subscription
    this.#fresh = fresh
    this.#aside = aside
    this.#checkpoint = new CheckpointAside(storeId)
  }

  async begin(): Promise<void> {
    const { checkpointName, units } = this.#aside
    const present = await units.checkpoints.load(checkpointName)
    const start = this.#checkpoint.at({ position: 0, eventId: undefined })
    await units.reset(start, present?.position)
    this.#checkpoint.adopt(start)
  }

  consumer(onConflict: (error: Error) => void): Consumer {
    this.#checkpoint.onConflict = onConflict
    return boundTo(this.#fresh, this.#checkpoint, this.#aside.units)
  }

  async takePlace(position: number, fence: number | undefined): Promise<void> {
    const { host, name, stopped } = this.#subscription
    const previous = (await host.checkpoints.load(name))?.position
    // With the fencing number of this instance: the transaction fails if another one has taken the lease over.
    const checkpoint = { ...this.#checkpoint.at({ position, eventId: undefined }), fence }
    await this.#aside.takePlace(this.#checkpoint, { checkpoint, previous }, stopped)
  }
}

/** The checkpoint of a projection that is being filled. Only its units move it. */
class CheckpointAside implements UnitCheckpoint {
  readonly #storeId: string
  #saved: Checkpoint | undefined
  onConflict: (error: Error) => void = () => undefined

  constructor(storeId: string) {
    this.#storeId = storeId
  }

  get saved(): Checkpoint | undefined {
    return this.#saved
  }

  at({ position, eventId }: FeedMark): Checkpoint {
    return { position, eventId, storeId: this.#storeId, fence: undefined }
  }

  async exclusively(work: () => Promise<void>): Promise<void> {
    await work()
  }

  adopt(checkpoint: Checkpoint): void {
    this.#saved = checkpoint
  }

  conflict(error: Error): void {
    this.onConflict(error)
  }
}

/**
 * Saves a position under the fencing number that the checkpoint has: the caller holds the lease.
 * @param transactional - resets the read model in the same transaction.
 */
export async function moveCheckpoint(
  { host, name }: FeedSubscription,
  position: number,
  transactional?: TransactionalUnits,
): Promise<void> {
  const present = await host.checkpoints.load(name)
  const storeId = await host.store.identity()
  const checkpoint = { position, storeId, eventId: undefined, fence: present?.fence }
  if (transactional === undefined) await host.checkpoints.save(name, checkpoint, present?.position)
  else await transactional.reset(checkpoint, present?.position)
}
