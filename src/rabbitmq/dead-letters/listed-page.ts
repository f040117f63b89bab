import { type DeadLetterListing, everyLetter } from '../../transport/dead-letter-store.ts'
import type { StoredDeadLetter } from '../../transport/transport.ts'
import type { RabbitMQNames } from '../client/names.ts'
import { readLetter } from './dead-letter-message.ts'
import type { LetterWalk, PageStart, WalkedLetter } from './letter-walk.ts'

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

/** Asks for the page after a start, in the order of the listing. */
export interface PageRequest {
  readonly names: RabbitMQNames
  readonly limit: number
  readonly start: PageStart | undefined
  readonly listing: DeadLetterListing | undefined
}

/** Number of letters that are read for a first page whose walk is kept. */
const MIN_FIRST = 5000

/** True if a walk that was kept after the previous page can have this one. */
export function usesKeptWalk({ start, listing }: PageRequest): boolean {
  // Newest first with a filter, only a walk from the start finds the last letters that match.
  return listing?.order === 'newest' ? listing.matches === everyLetter : start !== undefined
}

/** True if the walk is to be kept for the page that follows. A first page often has none, so its walk must have been long. */
export function keepsWalk(
  { listed, stoppedAt, scanned }: ListedPage,
  { start, limit }: PageRequest,
): boolean {
  const hasMore = listed.length === limit || stoppedAt !== undefined
  return hasMore && (start !== undefined || scanned >= MIN_FIRST)
}

/** @returns undefined if the walk was kept and does not remember what the page needs. */
export async function pageOf(walk: LetterWalk, request: PageRequest): Promise<ListedPage | undefined> {
  const { start, listing } = request
  if (walk.position > 0 && start !== undefined && !walk.knows(start)) return undefined
  if (listing?.order !== 'newest') return oldestPage(walk, request)
  return listing.matches === everyLetter ? newestPage(walk, request) : newestMatches(walk, request, listing)
}

async function oldestPage(
  walk: LetterWalk,
  { names, limit, start, listing }: PageRequest,
): Promise<ListedPage> {
  const { matches, signal, maxScanned = Number.POSITIVE_INFINITY } = listing ?? {}
  const listed: ListedLetter[] = []
  let scanned = 0
  for await (const walked of walk.after(start)) {
    scanned += 1
    const one = listedLetter(names, walked)
    if (matches?.(one.letter) ?? true) listed.push(one)
    if (listed.length === limit) break
    if (scanned >= maxScanned || signal?.aborted) {
      return { listed, scanned, stoppedAt: { position: walked.position, id: walked.id } }
    }
  }
  return { listed, scanned }
}

/** Decodes only the letters of the page. */
async function newestPage(
  walk: LetterWalk,
  { names, limit, start, listing }: PageRequest,
): Promise<ListedPage | undefined> {
  let reached = start !== undefined && walk.knows(start) ? start : undefined
  if (reached === undefined) {
    for await (const walked of walk.after(undefined)) {
      if (isStart(walked, start) || listing?.signal?.aborted) {
        reached = walked
        break
      }
    }
  }
  const letters = walk.before(limit, reached)
  if (letters === undefined) return undefined
  const listed = letters.map((walked) => listedLetter(names, walked)).toReversed()
  return { listed, scanned: walk.position }
}

async function newestMatches(
  walk: LetterWalk,
  { names, limit, start }: PageRequest,
  { matches, signal }: DeadLetterListing,
): Promise<ListedPage> {
  let found: ListedLetter[] = []
  for await (const walked of walk.after(undefined)) {
    if (isStart(walked, start) || signal?.aborted) break
    const one = listedLetter(names, walked)
    if (matches(one.letter)) found.push(one)
    if (found.length >= 2 * limit) found = found.slice(-limit)
  }
  return { listed: found.slice(-limit).toReversed(), scanned: walk.position }
}

function isStart({ id, position }: PageStart, start: PageStart | undefined): boolean {
  return id === start?.id || position === start?.position
}

function listedLetter(names: RabbitMQNames, { position, id, message }: WalkedLetter): ListedLetter {
  return { position, id, letter: readLetter(names, id, message) }
}
