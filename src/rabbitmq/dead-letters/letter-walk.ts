import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import { LetterIds } from './dead-letter-message.ts'
import { openQueue } from './read-pages.ts'

/** The letter that a page starts behind. */
export interface PageStart {
  /** Its position in the queue, from 1. */
  readonly position: number
  readonly id: string
}

/** A dead letter in its queue. */
export interface WalkedLetter extends PageStart {
  readonly message: AmqpMessage
}

/** Number of letters that a walk remembers, and the size of their bodies in bytes. */
const MAX_REMEMBERED = 2000
const MAX_REMEMBERED_BYTES = 4_194_304

/**
 * Reads a queue once, oldest first, on a channel of its own. It acknowledges nothing, so the letters that it has passed
 * stay where they are, and remembers the last ones.
 */
export class LetterWalk {
  readonly #channel: AmqpChannel
  readonly #queue: string
  readonly #minRemembered: number
  readonly #ids = new LetterIds()
  #pages: AsyncIterator<readonly AmqpMessage[], void> | undefined
  #page: readonly AmqpMessage[] = []
  /** Index in the page of the next message. */
  #next = 0
  #position = 0
  #remembered: WalkedLetter[] = []
  /** The letters before this index are forgotten. */
  #head = 0
  #bytes = 0

  /** @param minRemembered - number of letters that it remembers whatever their size. */
  constructor(channel: AmqpChannel, queue: string, minRemembered: number) {
    this.#channel = channel
    this.#queue = queue
    this.#minRemembered = minRemembered
  }

  /** Position of the last letter that was read. */
  get position(): number {
    return this.#position
  }

  /** True if it remembers this letter. */
  knows({ position, id }: PageStart): boolean {
    return this.#remembered[this.#indexOf(position)]?.id === id
  }

  /** The letters behind a start. If that letter is gone, those behind its position. */
  async *after(start: PageStart | undefined): AsyncGenerator<WalkedLetter, void> {
    let isPast = start === undefined || this.knows(start)
    const first = start === undefined ? this.#head : this.#indexOf(start.position) + 1
    if (isPast) yield* this.#remembered.slice(first)
    // Letters may have been added since the queue was opened for an earlier page.
    let isOpen = this.#pages === undefined
    for (;;) {
      const letter = await this.#read()
      if (letter !== undefined) {
        if (isPast) yield letter
        else isPast = letter.id === start?.id || letter.position === start?.position
      } else if (isOpen) return
      else {
        this.#pages = undefined
        isOpen = true
      }
    }
  }

  /**
   * The remembered letters before a start or the end, in the order of the queue.
   * @returns undefined if these are not as many as wanted, although the queue has more.
   */
  before(count: number, start: PageStart | undefined): readonly WalkedLetter[] | undefined {
    const end = start === undefined ? this.#remembered.length : this.#indexOf(start.position)
    const first = Math.max(end - count, this.#head)
    const hasMore = (this.#remembered[first]?.position ?? 1) > 1
    return end - first < count && hasMore ? undefined : this.#remembered.slice(first, end)
  }

  /** @returns undefined at the end of the queue. */
  async #read(): Promise<WalkedLetter | undefined> {
    if (this.#next === this.#page.length) {
      this.#pages ??= (await openQueue(this.#channel, this.#queue)).pages[Symbol.asyncIterator]()
      const { value, done } = await this.#pages.next()
      if (done === true) return undefined
      this.#page = value
      this.#next = 0
    }
    const message = this.#page[this.#next]
    if (message === undefined) return undefined
    this.#next += 1
    this.#position += 1
    const letter = { position: this.#position, id: this.#ids.next(message), message }
    this.#remember(letter)
    return letter
  }

  #remember(letter: WalkedLetter): void {
    this.#remembered.push(letter)
    this.#bytes += letter.message.content.length
    while (this.#isFull()) {
      this.#bytes -= this.#remembered[this.#head]?.message.content.length ?? 0
      this.#head += 1
    }
    if (this.#head < MAX_REMEMBERED) return
    this.#remembered = this.#remembered.slice(this.#head)
    this.#head = 0
  }

  #isFull(): boolean {
    const count = this.#remembered.length - this.#head
    if (count <= this.#minRemembered) return false
    return count > MAX_REMEMBERED || this.#bytes > MAX_REMEMBERED_BYTES
  }

  /** @returns an index without a letter if it does not remember the position. */
  #indexOf(position: number): number {
    const index = this.#remembered.length - 1 - (this.#position - position)
    return index < this.#head ? -1 : index
  }
}
