/** Says which of several instances of a subscription runs. */
export interface LeaseStore {
  /**
   * Takes the lease of a subscription, or extends it.
   * @returns false while another owner has it.
   */
  acquire(name: string, owner: string, ttlMs: number): Promise<boolean>
  /** Gives it back; nothing happens when it is somebody else's. */
  release(name: string, owner: string): Promise<void>
}

interface Lease {
  readonly owner: string
  readonly expiresAt: number
}

/** Leases among the managers of one process, for tests; share the object between them. */
export class InMemoryLeaseStore implements LeaseStore {
  readonly #leases = new Map<string, Lease>()
  readonly #now: () => number

  /** @param now - milliseconds of a clock; the system's by default. */
  constructor(now: () => number = () => Date.now()) {
    this.#now = now
  }

  async acquire(name: string, owner: string, ttlMs: number): Promise<boolean> {
    const lease = this.#leases.get(name)
    if (lease !== undefined && lease.owner !== owner && lease.expiresAt > this.#now()) return false
    this.#leases.set(name, { owner, expiresAt: this.#now() + ttlMs })
    return true
  }

  async release(name: string, owner: string): Promise<void> {
    if (this.#leases.get(name)?.owner === owner) this.#leases.delete(name)
  }
}
