import { toError } from '../errors.ts'
import { SubscriptionStoppedError } from './errors.ts'
import { FeedRun } from './feed-run.ts'
import type { FeedSubscription } from './feed-subscription.ts'
import { PositionWaiters } from './position-waiters.ts'
import type { Consumer } from './projection.ts'
import { SubscriptionMonitor } from './subscription-monitor.ts'
import type { TransactionalUnits } from './transactional-projection.ts'
import { WakeUp } from './wake-up.ts'

/** The result of a rebuild. */
export interface RebuildReport {
  readonly eventsHandled: number
  /** The subscription continues after this position. */
  readonly position: number
  readonly durationMs: number
}

/**
 * Resets a projection and passes all events to it again. Until it has caught up, its read model is incomplete.
 * @throws TypeError if it cannot be reset; SubscriptionStoppedError if it does not run on this instance, or is stopped;
 * any error of `reset`, which leaves the subscription stopped.
 */
export async function rebuildInPlace(subscription: FeedSubscription): Promise<RebuildReport> {
  const { host, name, consumer, monitor } = subscription
  const { reset, transactional } = consumer
  if (reset === undefined && transactional?.canReset !== true)
    throw new TypeError(`${name} cannot be rebuilt, because it has no reset().`)
  const isOurs = subscription.isLeading || (subscription.state === 'failed' && host.leases === undefined)
  if (!isOurs) throw notRunning(name)
  const startedAt = performance.now()
  const before = monitor.eventsHandled
  const head = await host.store.headPosition()
  await subscription.halt()
  try {
    // The checkpoint comes first: a crash in between then repeats events. In the other order, events would be missing.
    await moveCheckpoint(subscription, 0, transactional)
    await reset?.()
  } catch (thrown) {
    subscription.fail(toError(thrown))
    throw thrown
  }
  if (subscription.stopped.aborted) throw notRunning(name)
  subscription.goOn()
  await subscription.whenProcessed(head)
  return reportOf(startedAt, monitor.eventsHandled - before, subscription.position)
}

/**
 * Fills another projection from the beginning while the current one continues, and replaces the current one when the
 * other has caught up.
 * @throws SubscriptionStoppedError if the subscription does not run on this instance, or is stopped; any error that
 * stops the new projection. The current one then continues.
 */
export async function rebuildBeside(subscription: FeedSubscription, fresh: Consumer): Promise<RebuildReport> {
  if (fresh.transactional !== undefined || subscription.consumer.transactional !== undefined) {
    throw new TypeError(
      `${subscription.name} moves its checkpoint in its own transactions, so no other projection can take its place. ` +
        'Rebuild it without `into`, or fill a projection of another name.',
    )
  }
  if (!subscription.isLeading) throw notRunning(subscription.name)
  const startedAt = performance.now()
  await fresh.reset?.()
  const shadow = new Shadow(subscription, fresh)
  try {
    await shadow.caughtUp()
    await subscription.halt()
    await shadow.until(subscription.position)
    await shadow.end()
    await takePlace(subscription, fresh, shadow.position)
  } finally {
    await shadow.end()
    subscription.goOn()
  }
  return reportOf(startedAt, shadow.eventsHandled, shadow.position)
}

async function takePlace(subscription: FeedSubscription, fresh: Consumer, position: number): Promise<void> {
  await moveCheckpoint(subscription, position)
  subscription.replaceConsumer(fresh)
}

/**
 * Saves a position under the fencing number that the checkpoint has: the caller holds the lease.
 * @param transactional - resets the read model in the same transaction.
 */
async function moveCheckpoint(
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

/** The loop of the new projection over the feed. Its position is not saved until it replaces the current projection. */
class Shadow {
  readonly #subscription: FeedSubscription
  readonly #waiters = new PositionWaiters()
  readonly #wakeUp = new WakeUp()
  readonly #monitor: SubscriptionMonitor
  readonly #run: FeedRun
  readonly #ended: Promise<void>

  /** Starts at once. */
  constructor(subscription: FeedSubscription, fresh: Consumer) {
    const { host, name, options, gate, stopped } = subscription
    this.#subscription = subscription
    this.#monitor = new SubscriptionMonitor(name, host.logger)
    this.#run = new FeedRun({
      ...host,
      // Its handlers may wait for the current projection, which does not wait for them.
      owner: this,
      options,
      gate,
      consumer: fresh,
      monitor: this.#monitor,
      wakeUp: this.#wakeUp,
      start: { position: 0, eventId: undefined },
      progress: {
        moved: ({ position }) => this.#waiters.moved(position),
        pageRead: () => undefined,
        busy: undefined,
      },
    })
    this.#ended = this.#follow(stopped, notRunning(name))
  }

  get position(): number {
    return this.#run.position
  }

  get eventsHandled(): number {
    return this.#monitor.eventsHandled
  }

  async caughtUp(): Promise<void> {
    await this.until(await this.#subscription.host.store.headPosition())
  }

  async until(position: number): Promise<void> {
    const { failure } = this.#run
    if (failure !== undefined) throw failure
    if (this.#run.position < position) await this.#waiters.until(position)
  }

  async end(): Promise<void> {
    this.#run.stop()
    await this.#ended
  }

  async #follow(stopped: AbortSignal, error: Error): Promise<void> {
    const abandon = () => this.#run.abandon(error)
    const { wakeUps } = this.#subscription
    stopped.addEventListener('abort', abandon, { once: true })
    wakeUps.add(this.#wakeUp)
    await this.#run.follow()
    wakeUps.delete(this.#wakeUp)
    stopped.removeEventListener('abort', abandon)
    this.#waiters.reject(this.#run.failure ?? error)
  }
}

function reportOf(startedAt: number, eventsHandled: number, position: number): RebuildReport {
  return { eventsHandled, position, durationMs: performance.now() - startedAt }
}

function notRunning(name: string): SubscriptionStoppedError {
  return new SubscriptionStoppedError(name, 'be rebuilt')
}
