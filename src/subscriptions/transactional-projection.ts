import type { DomainEvent } from '../events/index.ts'
import { InlineStreams } from './inline-streams.ts'
import { ProjectionUnits } from './projection-units.ts'
import type { StoreTransaction } from './store-transaction.ts'
import {
  checkedProjection,
  type TransactionalProjectionOptions,
  type TransactionalProjectionParts,
  type TransactionalUnits,
} from './transactional-units.ts'

/** Methods, so that stores with a client of their own are stores with any client. */
interface UnitsOf<Client> extends TransactionalUnits {
  inlineIn(tx: StoreTransaction<Client>): (event: DomainEvent) => Promise<void>
}

/**
 * A projection whose writes and checkpoint are committed in one transaction, so that each event has its effect exactly once:
 * created by `stores.projection`, and passed to `manager.subscribe`.
 */
export class TransactionalProjection<Client = unknown> {
  readonly name: string
  readonly #units: (name: string) => UnitsOf<Client>

  private constructor(name: string, units: (name: string) => UnitsOf<Client>) {
    this.name = name
    this.#units = units
  }

  /** For stores of your own: implements `projection` on their transactions. @throws ConfigError if an option is wrong. */
  static create<Client>(
    parts: TransactionalProjectionParts<Client>,
    given: TransactionalProjectionOptions<Client>,
  ): TransactionalProjection<Client> {
    const options = checkedProjection(given)
    return new TransactionalProjection(options.name, (name) => new ProjectionUnits({ name, parts, options }))
  }

  /** @internal */
  unitsFor(name: string): TransactionalUnits {
    return this.#units(name)
  }

  /**
   * Returns a transaction whose appends are handled at once, so that the read model is up to date when the transaction
   * commits. If a handler fails, the append rejects: let the transaction fail, too. Requires the option `inline`.
   *
   * Also subscribe the projection with a manager. It handles the events that were stored in other ways, for example by another
   * release, and skips those that were handled inline.
   *
   * @throws ConfigError without the option `inline`.
   * @example
   * await stores.transaction(async (tx) => {
   *   await orders.within(totals.inline(tx)).save(order)
   * })
   */
  inline(tx: StoreTransaction<Client>): StoreTransaction<Client> {
    const project = this.#units(this.name).inlineIn(tx)
    const { client, events, snapshots, checkpoints, deadLetters, inbox, outbox } = tx
    return {
      ...{ client, snapshots, checkpoints, deadLetters, inbox, outbox },
      events: new InlineStreams(events, project),
    }
  }
}
