/** Rotates lists. Each call starts one position later, so that no item is always the last. */
export class Rotation {
  #turn = 0

  rotate<T>(items: readonly T[]): readonly T[] {
    this.#turn += 1
    const start = items.length === 0 ? 0 : this.#turn % items.length
    return [...items.slice(start), ...items.slice(0, start)]
  }
}
