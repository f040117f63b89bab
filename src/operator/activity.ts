import { randomUUID } from 'node:crypto'

/** A change that a viewer of the page made, or tried to make. */
export interface OperatorAuditEntry {
  /** The same for all entries of one change. */
  readonly id: string
  /** Such as `groups.pause`. */
  readonly action: string
  /** `'refused'`: the viewer may not do it. `'started'`: it is about to start. `'done'`, `'failed'`: it has ended. */
  readonly state: 'started' | 'done' | 'failed' | 'refused'
  readonly at: Date
  /** Name of the viewer. */
  readonly by: string
  readonly why: string | undefined
  /** Name of the bus in the page. */
  readonly bus: string | undefined
  /** What is changed: a group, ids, a filter. No payloads. */
  readonly target: Readonly<Record<string, unknown>>
  /** How many things were changed. */
  readonly count: number
  /** What the page says about it. */
  readonly text: string | undefined
}

/** Stores an entry. If it rejects before a change, the change is not made. */
export type OperatorAudit = (entry: OperatorAuditEntry) => void | Promise<void>

/** Changes that are kept for the page Activity. */
const MAX_KEPT = 500

/** The changes that were made in the page since the program started. */
export class Activity {
  readonly #audit: OperatorAudit | undefined
  /** The last entry of each change, oldest first. */
  readonly #last = new Map<string, OperatorAuditEntry>()

  constructor(audit: OperatorAudit | undefined) {
    this.#audit = audit
  }

  /** Starts a change. @throws what the audit throws; then the change must not be made. */
  async start(entry: Omit<OperatorAuditEntry, 'id' | 'at'>): Promise<OperatorAuditEntry> {
    return this.record({ ...entry, id: randomUUID() })
  }

  /** Records an entry, which replaces that of the same id in the page. */
  async record(entry: Omit<OperatorAuditEntry, 'at'>): Promise<OperatorAuditEntry> {
    const full = { ...entry, at: new Date() }
    await this.#audit?.(full)
    this.#last.delete(full.id)
    this.#last.set(full.id, full)
    const [oldest] = this.#last.keys()
    if (this.#last.size > MAX_KEPT && oldest !== undefined) this.#last.delete(oldest)
    return full
  }

  get(id: string): OperatorAuditEntry | undefined {
    return this.#last.get(id)
  }

  /** Newest first. */
  list(): readonly OperatorAuditEntry[] {
    return [...this.#last.values()].reverse()
  }
}
