import { toError } from '../errors.ts'
import { sleep } from '../kit/time.ts'
import type { LeaseStore } from './lease-store.ts'
import type { SubscriptionMonitor } from './subscription-monitor.ts'

/** The right to run, while it lasts. */
export interface HeldLease {
  /** True when somebody else had it before, in the time of this instance. */
  readonly wasAwaited: boolean
  /** Aborts when it is lost. */
  readonly lost: AbortSignal
  release(): Promise<void>
}

/** Gets the lease of a subscription, and keeps it by extending it three times within its duration. */
export interface LeaseKeeper {
  /** Waits for the lease. @returns undefined when the signal aborted before. */
  hold(signal: AbortSignal): Promise<HeldLease | undefined>
}

/** For a subscription that runs in one place only. */
export const noLease: LeaseKeeper = {
  hold: async () => ({
    wasAwaited: false,
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
      let wasAwaited = false
      for (let answer = await acquire(terms); answer !== 'held'; answer = await acquire(terms)) {
        wasAwaited ||= answer === 'refused'
        if (!(await sleep(intervalMs, signal))) return undefined
      }
      return new RenewedLease(terms, intervalMs, wasAwaited)
    },
  }
}

class RenewedLease implements HeldLease {
  readonly #terms: LeaseTerms
  readonly #lost = new AbortController()
  readonly #released = new AbortController()
  readonly #renewing: Promise<void>
  readonly wasAwaited: boolean

  constructor(terms: LeaseTerms, intervalMs: number, wasAwaited: boolean) {
    this.#terms = terms
    this.wasAwaited = wasAwaited
    this.#renewing = this.#renew(intervalMs)
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
      monitor.problem('releasing the lease failed; it ends with its time', toError(thrown))
    }
  }

  async #renew(intervalMs: number): Promise<void> {
    let heldUntil = performance.now() + this.#terms.ttlMs
    while (await sleep(intervalMs, this.#released.signal)) {
      const asked = performance.now()
      const answer = await acquire(this.#terms)
      if (answer === 'held') heldUntil = asked + this.#terms.ttlMs
      // A store that only fails to answer has not given the lease to anybody else before its time.
      else if (answer === 'refused' || performance.now() >= heldUntil) break
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
}: LeaseTerms): Promise<'held' | 'refused' | 'unknown'> {
  try {
    const isHeld = await store.acquire(name, owner, ttlMs)
    monitor.troubleOver('lease')
    return isHeld ? 'held' : 'refused'
  } catch (thrown) {
    monitor.trouble('lease', 'asking for the lease failed', toError(thrown))
    return 'unknown'
  }
}
