import type { AmqpChannel } from '../client/client.ts'
import type { RabbitMQNames } from '../client/names.ts'
import { undefinedIfNotFound } from '../errors.ts'
import { KeptWalk } from './kept-walk.ts'
import { LetterWalk } from './letter-walk.ts'
import { keepsWalk, type ListedPage, type PageRequest, pageOf, usesKeptWalk } from './listed-page.ts'
import type { ReaderLock } from './reader-lock.ts'

/** Lists the dead letters of one queue, page by page. */
export class LetterListing {
  readonly #names: RabbitMQNames
  readonly #lock: ReaderLock
  #kept: KeptWalk | undefined

  constructor(names: RabbitMQNames, lock: ReaderLock) {
    this.#names = names
    this.#lock = lock
  }

  /** @returns undefined if the queue does not exist yet. */
  page(given: Omit<PageRequest, 'names'>): Promise<ListedPage | undefined> {
    const request = { ...given, names: this.#names }
    return usesKeptWalk(request) ? this.#continued(request) : this.#alone(request)
  }

  /** Returns the letters that are kept for the next page to their queue. */
  release(): void {
    void this.#kept?.end()
  }

  #alone(request: PageRequest): Promise<ListedPage | undefined> {
    this.release()
    return undefinedIfNotFound(this.#lock.run((channel) => pageOf(this.#walk(channel, request), request)))
  }

  /** The page of the walk that was kept after the previous page, or of one that is kept for the next. */
  async #continued(request: PageRequest): Promise<ListedPage | undefined> {
    const page = (await this.#kept?.read((walk) => pageOf(walk, request))) ?? (await this.#keptPage(request))
    if (page === undefined || !keepsWalk(page, request)) await this.#kept?.end()
    return page
  }

  async #keptPage(request: PageRequest): Promise<ListedPage | undefined> {
    const previous = this.#kept
    void previous?.end()
    const open = (channel: AmqpChannel) => this.#walk(channel, request)
    const kept = new KeptWalk(this.#lock, open, previous?.isWanted ?? false)
    this.#kept = kept
    return undefinedIfNotFound(kept.read((walk) => pageOf(walk, request)))
  }

  #walk(channel: AmqpChannel, { limit, listing }: PageRequest): LetterWalk {
    // Newest first, a page consists of what the walk remembers. Oldest first, the next page starts one letter back.
    const minRemembered = listing?.order === 'newest' ? limit + 1 : 2
    return new LetterWalk(channel, this.#names.deadLetterQueue, minRemembered)
  }
}
