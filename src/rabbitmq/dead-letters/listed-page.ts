import type { StoredDeadLetter } from '../../transport/transport.ts'

/** The letter that the previous page ended with. */
export interface PageStart {
  /** Its position in the queue, from 1. */
  readonly position: number
  readonly id: string
}

/** A dead letter with its position in the queue. */
export interface ListedLetter extends PageStart {
  readonly letter: StoredDeadLetter
}

/** A page, and how far it was read. */
export interface ListedPage {
  readonly listed: readonly ListedLetter[]
  readonly scanned: number
  /** The last message that was read, if the page ended early. */
  readonly stoppedAt?: PageStart | undefined
}
