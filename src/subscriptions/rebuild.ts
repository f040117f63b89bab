import { toError } from '../errors.ts'
import { SubscriptionStoppedError } from './errors.ts'
import type { FeedSubscription } from './feed-subscription.ts'
import type { Consumer } from './projection.ts'
import { Shadow } from './shadow.ts'
import { moveCheckpoint, successorOf } from './successor.ts'

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
  refuseInline(name, consumer)
  if (reset === undefined && transactional?.canReset !== true)
    throw new TypeError(`${name} cannot be rebuilt, because it has no reset().`)
  const isOurs = subscription.isLeading || (subscription.state === 'failed' && host.leases === undefined)
  if (!isOurs) throw notRunning(name)
  const startedAt = performance.now()
  const before = monitor.eventsHandled
  const head = await host.store.headPosition()
  await subscription.halt()
  subscription.rebuildProgress = () => 0
  try {
    // The checkpoint comes first: a crash in between then repeats events. In the other order, events would be missing.
    await moveCheckpoint(subscription, 0, transactional)
    await reset?.()
  } catch (thrown) {
    subscription.fail(toError(thrown))
    throw thrown
  }
  if (subscription.stopped.aborted) throw notRunning(name)
  subscription.endHalt()
  subscription.rebuildProgress = () => progress(subscription.position, head)
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
  const { host, name, consumer } = subscription
  refuseInline(name, consumer)
  refuseInline(name, fresh)
  if (consumer.transactional !== undefined && fresh.transactional === undefined) {
    throw new TypeError(
      `${name} moves its checkpoint in its own transactions, so only a projection of the same stores can take its place.`,
    )
  }
  if (!subscription.isLeading) throw notRunning(name)
  const startedAt = performance.now()
  const successor = await successorOf(subscription, fresh)
  await successor.begin()
  const shadow = new Shadow(subscription, successor)
  const head = await host.store.headPosition()
  subscription.rebuildProgress = () => progress(shadow.position, head)
  try {
    await shadow.caughtUp()
    const fence = await fenceOf(subscription)
    await subscription.halt()
    await shadow.until(subscription.position)
    await shadow.end()
    await successor.takePlace(shadow.position, fence)
    subscription.replaceConsumer(fresh)
  } finally {
    await shadow.end()
    subscription.endHalt()
  }
  return reportOf(startedAt, shadow.eventsHandled, shadow.position)
}

/** The events of an inline projection are also handled outside of the subscription. */
function refuseInline(name: string, { transactional }: Consumer): void {
  if (transactional?.isInline !== true) return
  throw new TypeError(
    `${name} is also handled inline, so it cannot be rebuilt. Fill a projection of another name instead.`,
  )
}

/** The fencing number of the lease under which a running subscription saves its checkpoint. */
async function fenceOf({ host, name }: FeedSubscription): Promise<number | undefined> {
  return (await host.checkpoints.load(name))?.fence
}

function progress(position: number, head: number): number {
  return head === 0 ? 1 : Math.min(1, position / head)
}

function reportOf(startedAt: number, eventsHandled: number, position: number): RebuildReport {
  return { eventsHandled, position, durationMs: performance.now() - startedAt }
}

function notRunning(name: string): SubscriptionStoppedError {
  return new SubscriptionStoppedError(name, 'be rebuilt')
}
