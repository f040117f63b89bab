import { EventspineError } from '../errors.ts'
import { sleep } from '../kit/time.ts'
import { StoreOutcomeUnknownError } from '../store/index.ts'
import type { Checkpoint } from './checkpoint-store.ts'
import { MovingUnits } from './moving-units.ts'
import { moveParked } from './parked-pages.ts'
import type {
  PlaceToTake,
  TransactionalProjectionOptions,
  TransactionalProjectionParts,
  TransactionalUnits,
  UnitsAside,
} from './transactional-units.ts'
import type { UnitCheckpoint } from './unit-checkpoint.ts'

/** Delay before a transaction with an unknown outcome is looked up, in milliseconds. */
const LOOK_UP_MS = 200

interface AsideParts<Client> {
  readonly name: string
  readonly checkpointName: string
  readonly units: TransactionalUnits
  readonly parts: TransactionalProjectionParts<Client>
  readonly options: TransactionalProjectionOptions<Client>
}

/** Fills a projection under a checkpoint of its own, and replaces another one in one transaction. */
export class ProjectionAside<Client> implements UnitsAside {
  readonly checkpointName: string
  readonly units: TransactionalUnits
  readonly #parts: AsideParts<Client>

  constructor(parts: AsideParts<Client>) {
    this.checkpointName = parts.checkpointName
    this.units = parts.units
    this.#parts = parts
  }

  async takePlace(own: UnitCheckpoint, place: PlaceToTake, signal: AbortSignal): Promise<void> {
    const { checkpoints } = this.#parts.parts
    const moving = new MovingUnits(own, () => checkpoints.load(this.checkpointName))
    // A position that no unit has: it shows that the transaction is committed, and refuses a second one.
    const done = { position: place.checkpoint.position + 1, eventId: undefined }
    for (let isUnknown = false; ; ) {
      try {
        await moving.through(done, signal, (next, previous) => this.#switch(next, previous, place))
        return
      } catch (thrown) {
        isUnknown ||= thrown instanceof StoreOutcomeUnknownError
        const isWorthARetry = isUnknown && thrown instanceof EventspineError && thrown.retryable
        if (!isWorthARetry || !(await sleep(LOOK_UP_MS, signal))) throw thrown
      }
    }
  }

  async #switch(
    next: Checkpoint,
    previous: number | undefined,
    { checkpoint, previous: replaced }: PlaceToTake,
  ): Promise<void> {
    const { name, checkpointName, parts, options } = this.#parts
    await parts.transaction(async (tx) => {
      // Fails if another instance has started to fill the same projection.
      await tx.checkpoints.advance(checkpointName, next, previous)
      await tx.checkpoints.advance(name, checkpoint, replaced)
      await moveParked(tx.deadLetters, name, undefined)
      await moveParked(tx.deadLetters, checkpointName, name)
      await options.switchReaders?.(tx)
    })
  }
}
