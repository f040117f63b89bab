import { SubscriptionStoppedError } from './errors.ts'
import { FeedRun } from './feed-run.ts'
import type { FeedSubscription } from './feed-subscription.ts'
import { PositionWaiters } from './position-waiters.ts'
import { SubscriptionMonitor } from './subscription-monitor.ts'
import type { Successor } from './successor.ts'
import { WakeUp } from './wake-up.ts'

/** The loop of a new projection over the feed, until it replaces the current projection. */
export class Shadow {
  readonly #subscription: FeedSubscription
  readonly #waiters = new PositionWaiters()
  readonly #wakeUp = new WakeUp()
  readonly #monitor: SubscriptionMonitor
  readonly #run: FeedRun
  readonly #ended: Promise<void>

  /** Starts at once. */
  constructor(subscription: FeedSubscription, successor: Successor) {
    const { host, name, options, gate, stopped } = subscription
    this.#subscription = subscription
    this.#monitor = new SubscriptionMonitor(name, host.logger)
    this.#run = new FeedRun({
      ...host,
      // Its handlers may wait for the current projection, which does not wait for them.
      owner: this,
      options,
      gate,
      consumer: successor.consumer((error) => this.#run.fail(error)),
      monitor: this.#monitor,
      wakeUp: this.#wakeUp,
      start: { position: 0, eventId: undefined },
      progress: {
        moved: ({ position }) => this.#waiters.moved(position),
        pageRead: () => undefined,
        busy: undefined,
      },
    })
    this.#ended = this.#follow(stopped, new SubscriptionStoppedError(name, 'be rebuilt'))
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
