/** The right to run a subscription for a limited time. */
export interface Lease {
  /**
   * Fencing number, which increases each time the lease changes its owner. Writes of a former owner have a lower number
   * and are refused. It starts at the current time in milliseconds, so that it also increases if the lease store loses
   * its data.
   */
  readonly fence: number
}

/** Decides which of several instances of a subscription runs. */
export interface LeaseStore {
  /**
   * Takes the lease of a subscription, or extends it. The clock of the store is used, not that of the caller.
   * @returns undefined while another owner holds it.
   */
  acquire(name: string, owner: string, ttlMs: number): Promise<Lease | undefined>
  /** Releases the lease, so that it is free at once; no-op if another owner holds it. */
  release(name: string, owner: string): Promise<void>
  /**
   * Calls the listener when a lease may have been released. It is only a hint: calls may come too often, or not at all.
   * @returns a function that removes the listener.
   */
  onRelease(listener: () => void): () => void
}

interface HeldLease extends Lease {
  readonly owner: string
  /** Milliseconds; 0 after the release. */
  readonly expiresAt: number
}

/** Stores leases for the managers of one process, for tests. Share one object between the managers. */
export class InMemoryLeaseStore implements LeaseStore {
  readonly #leases = new Map<string, HeldLease>()
  readonly #listeners = new Set<() => void>()
  readonly #now: () => number

  /** @param now - the current time in milliseconds. Default: the system clock. */
  constructor(now: () => number = () => Date.now()) {
    this.#now = now
  }

  async acquire(name: string, owner: string, ttlMs: number): Promise<Lease | undefined> {
    const present = this.#leases.get(name)
    const isOwn = present?.owner === owner
    if (present !== undefined && !isOwn && present.expiresAt > this.#now()) return undefined
    const fence = isOwn ? present.fence : Math.max((present?.fence ?? 0) + 1, Math.floor(this.#now()))
    this.#leases.set(name, { owner, fence, expiresAt: this.#now() + ttlMs })
    return { fence }
  }

  async release(name: string, owner: string): Promise<void> {
    const present = this.#leases.get(name)
    if (present?.owner !== owner) return
    this.#leases.set(name, { ...present, owner: '', expiresAt: 0 })
    for (const listener of this.#listeners) listener()
  }

  onRelease(listener: () => void): () => void {
    // A new function per call, so that the same listener can be added twice.
    const entry = () => listener()
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }
}
