import { CheckpointConflictError } from './errors.ts'

/** Keeps how far each subscription has come. */
export interface CheckpointStore {
  /** The position that was saved last; undefined when there is none. */
  load(name: string): Promise<number | undefined>
  /**
   * Saves a position in place of the previous one. Saving what is there already succeeds: an answer may have been lost.
   * @throws CheckpointConflictError when neither the position nor the previous one is there.
   */
  save(name: string, position: number, previous: number | undefined): Promise<void>
}

/** Keeps checkpoints in memory, as long as the process lives. */
export class InMemoryCheckpointStore implements CheckpointStore {
  readonly #positions = new Map<string, number>()

  async load(name: string): Promise<number | undefined> {
    return this.#positions.get(name)
  }

  async save(name: string, position: number, previous: number | undefined): Promise<void> {
    checkPrevious(name, this.#positions.get(name), position, previous)
    this.#positions.set(name, position)
  }
}

/** @throws CheckpointConflictError */
export function checkPrevious(
  name: string,
  actual: number | undefined,
  position: number,
  previous: number | undefined,
): void {
  if (actual !== previous && actual !== position) throw new CheckpointConflictError(name, previous, actual)
}
