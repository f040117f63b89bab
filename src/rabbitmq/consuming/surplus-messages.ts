import type { UnackedDelivery } from './acks.ts'

/** A message that arrived without room for it. Its content is dropped. */
export interface SurplusMessage {
  readonly unacked: UnackedDelivery
  /** Where to note that no attempt at it was made; undefined for a redelivery, which keeps the mark that it has. */
  readonly mark: string | undefined
}

/** Messages beyond `maxInFlightBytes`, until they are returned to the queue. */
export class SurplusMessages {
  #messages: SurplusMessage[] = []
  #isOpen = false

  /** True from the first surplus message until the consumer is replaced: no later message may overtake it. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** The marks that keep the return from counting as an attempt. */
  get marks(): readonly string[] {
    return this.#messages.flatMap(({ mark }) => mark ?? [])
  }

  /** @returns true for the first message. */
  add(message: SurplusMessage): boolean {
    this.#messages.push(message)
    const isFirst = !this.#isOpen
    this.#isOpen = true
    return isFirst
  }

  /** Removes the messages that have arrived so far. */
  take(): readonly UnackedDelivery[] {
    const taken = this.#messages.map(({ unacked }) => unacked)
    this.#messages = []
    return taken
  }

  close(): void {
    this.#messages = []
    this.#isOpen = false
  }
}
