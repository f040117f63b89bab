import { toError } from '../errors.ts'
import { sleep } from '../kit/time.ts'
import type { Lease, LeaseStore } from './lease-store.ts'
import type { SubscriptionMonitor } from './subscription-monitor.ts'
import { WakeUp } from './wake-up.ts'

/** A lease that this instance holds. */
export interface HeldLease {
  /** True if another instance held the lease while this one waited. */
  readonly wasAwaited: boolean
  /** Fencing number of the lease; undefined if the subscription needs none. */
  readonly fence: number | undefined
  /** Aborts when the lease is lost. */
  readonly lost: AbortSignal
  release(): Promise<void>
}

/** Acquires the lease of a subscription, and extends it three times within its duration. */
export interface LeaseKeeper {
  /** Waits for the lease. @returns undefined if the signal aborted first. */
  hold(signal: AbortSignal): Promise<HeldLease | undefined>
}

/** Used for a subscription that runs on only one instance. */
export const noLease: LeaseKeeper = {
  hold: async () => ({
    wasAwaited: false,
    fence: undefined,
    lost: new AbortController().signal,
    release: async () => undefined,
  }),
}

export interface LeaseTerms {
  readonly store: LeaseStore
  readonly name: string
  readonly owner: string
  readonly ttlMs: number
  readonly monitor: SubscriptionMonitor
}

export function keeperOf(terms: LeaseTerms): LeaseKeeper {
  const intervalMs = Math.max(1, Math.floor(terms.ttlMs / 3))
  return {
    async hold(signal) {
      const released = new WakeUp()
      const endReleases = terms.store.onRelease(() => released.call())
      const endWait = () => released.call()
      signal.addEventListener('abort', endWait, { once: true })
      try {
        let wasAwaited = false
        for (;;) {
          released.arm()
          const answer = await acquire(terms)
          if (typeof answer === 'object') return new RenewedLease(terms, intervalMs, answer, wasAwaited)
          wasAwaited ||= answer === 'refused'
          if (!signal.aborted) await released.sleep(Math.min(intervalMs, STANDBY_MS))
          if (signal.aborted) return undefined
        }
      } finally {
        signal.removeEventListener('abort', endWait)
        endReleases()
      }
    },
  }
}

/**
 * Interval at which a standby instance requests the lease, in milliseconds, because the notification of a release may
 * be lost.
 */
const STANDBY_MS = 1000

class RenewedLease implements HeldLease {
  readonly #terms: LeaseTerms
  readonly #lost = new AbortController()
  readonly #released = new AbortController()
  readonly #renewing: Promise<void>
  readonly wasAwaited: boolean
  readonly #fence: number

  constructor(terms: LeaseTerms, intervalMs: number, { fence }: Lease, wasAwaited: boolean) {
    this.#terms = terms
    this.#fence = fence
    this.wasAwaited = wasAwaited
    this.#renewing = this.#renew(intervalMs)
  }

  get fence(): number {
    return this.#fence
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }

  async release(): Promise<void> {
    this.#released.abort()
    await this.#renewing
    const { store, name, owner, monitor } = this.#terms
    try {
      await store.release(name, owner)
    } catch (thrown) {
      monitor.problem('releasing the lease failed; it expires by itself', toError(thrown))
    }
  }

  async #renew(intervalMs: number): Promise<void> {
    let heldUntil = performance.now() + this.#terms.ttlMs
    while (await sleep(intervalMs, this.#released.signal)) {
      const asked = performance.now()
      const answer = await acquire(this.#terms)
      // If the fencing number has changed, the lease was lost in between, and another instance may have run.
      const isKept = typeof answer === 'object' && answer.fence === this.#fence
      if (isKept) heldUntil = asked + this.#terms.ttlMs
      // While the store does not answer, it cannot have given the lease to another instance before the lease expires.
      else if (answer !== 'unknown' || performance.now() >= heldUntil) break
    }
    if (!this.#released.signal.aborted) this.#lost.abort()
  }
}

async function acquire({
  store,
  name,
  owner,
  ttlMs,
  monitor,
}: LeaseTerms): Promise<Lease | 'refused' | 'unknown'> {
  try {
    const lease = await store.acquire(name, owner, ttlMs)
    monitor.troubleOver('lease')
    return lease ?? 'refused'
  } catch (thrown) {
    monitor.trouble('lease', 'requesting the lease failed', toError(thrown))
    return 'unknown'
  }
}
