import { hostname, userInfo } from 'node:os'
import { nonEmptyText, type OptionRule, optional } from '../kit/options.ts'
import type { Logger } from '../observability/logger.ts'

/** Who changes something, and why. */
export interface Actor {
  /** Who: a person or a program. Default: the user of the process and its host. */
  readonly by?: string
  /** Why, for example a ticket. */
  readonly why?: string
}

export const actorDefaults = {
  by: undefined as string | undefined,
  why: undefined as string | undefined,
}

export const actorRules: Readonly<Record<keyof typeof actorDefaults, OptionRule>> = {
  by: optional(nonEmptyText),
  why: optional(nonEmptyText),
}

/** A change that an operator makes. Each change has two entries: one before it starts, and one with its outcome. */
export interface AuditEntry {
  readonly action:
    | 'deadLetters.replay'
    | 'deadLetters.edit'
    | 'deadLetters.purge'
    | 'deadLetters.archive'
    | 'deadLetters.import'
    | 'groups.delete'
    | 'groups.pause'
    | 'groups.resume'
    | 'groups.seek'
  /** `'started'`: it is about to start. `'done'`: it has ended. `'failed'`: it has ended with an error. */
  readonly state: 'started' | 'done' | 'failed'
  readonly at: Date
  readonly by: string
  readonly why: string | undefined
  /** The broker's system, such as `'kafka'`. */
  readonly system: string
  /** The stream, exchange or topic. */
  readonly destination: string
  /** What is changed: ids, a filter, the destination of a replay. No payloads. */
  readonly target: Readonly<Record<string, unknown>>
  /**
   * How many dead letters were changed, how many unhandled events a deleted group had, or how
   * many events are behind the new position of a group; 0 in an entry of the state
   * `'started'`.
   */
  readonly count: number
  readonly error: Error | undefined
}

/** Stores an entry. If it rejects before a change, the change is not made. */
export type Audit = (entry: AuditEntry) => void | Promise<void>

/** A change that is to be recorded. */
export interface Change extends Actor {
  readonly action: AuditEntry['action']
  readonly target: AuditEntry['target']
}

/** Records the changes of operators in the log, and where the option `audit` says. */
export class AuditTrail {
  readonly #place: Pick<AuditEntry, 'system' | 'destination'>
  readonly #logger: Logger
  readonly #audit: Audit | undefined

  constructor(place: Pick<AuditEntry, 'system' | 'destination'>, logger: Logger, audit: Audit | undefined) {
    this.#place = { system: place.system, destination: place.destination }
    this.#logger = logger
    this.#audit = audit
  }

  /**
   * Runs a change between its two records.
   * @param work - gets a function that returns how much has been changed so far.
   */
  async record<T>(change: Change, work: (changed: (count: number) => void) => Promise<T>): Promise<T> {
    const { action, target, why } = change
    const base = { ...this.#place, action, target, why, by: change.by ?? currentUser() }
    let count = 0
    await this.#audit?.({ ...base, state: 'started', at: new Date(), count, error: undefined })
    const end = async (state: 'done' | 'failed', error: Error | undefined) => {
      const entry = { ...base, state, at: new Date(), count, error }
      this.#log(entry)
      await this.#audit?.(entry)
    }
    let result: T
    try {
      result = await work((changed) => {
        count = changed
      })
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown))
      // The failure of the change is what the caller must know.
      await end('failed', error).catch((failure: unknown) => {
        this.#logger.error('audit entry not stored', { action, error: failure })
      })
      throw thrown
    }
    await end('done', undefined)
    return result
  }

  #log({ action, state, by, why, target, count, error, destination }: AuditEntry): void {
    const fields = { action, by, why, destination, target, count }
    if (state === 'failed') this.#logger.warn('operator change failed', { ...fields, error })
    else this.#logger.info('operator change done', fields)
  }
}

/** The user of the process and its host. */
export function currentUser(): string {
  try {
    return `${userInfo().username}@${hostname()}`
  } catch {
    return `pid ${process.pid}@${hostname()}` // a user id without an entry in the list of users
  }
}
