/** One event that was begun. */
export interface BegunEvent {
  readonly position: number
  /** Events it counts for: 1, or 0 for a position that was only passed. */
  readonly events: number
  isFinished: boolean
}

/** Which of the events that were begun, in order, are finished without a gap. */
export class FinishedPrefix {
  #begun: BegunEvent[] = []
  #first = 0

  begin(position: number, events: number): BegunEvent {
    const begun = { position, events, isFinished: false }
    this.#begun.push(begun)
    return begun
  }

  /** @returns how far everything is finished now, and by how many events that is further; undefined if it is not. */
  finish(begun: BegunEvent): { readonly position: number; readonly events: number } | undefined {
    begun.isFinished = true
    let position: number | undefined
    let events = 0
    for (let next = this.#begun[this.#first]; next?.isFinished === true; next = this.#begun[this.#first]) {
      position = next.position
      events += next.events
      this.#first += 1
    }
    this.#forget()
    return position === undefined ? undefined : { position, events }
  }

  /** Lets go of what is finished, now and then, so that each event costs the same. */
  #forget(): void {
    if (this.#first < 1000 && this.#first < this.#begun.length) return
    this.#begun = this.#begun.slice(this.#first)
    this.#first = 0
  }
}
