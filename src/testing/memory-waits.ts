import { placesOf, type ReplayTarget, type Wait } from '../transport/index.ts'
import type { PendingMessage, StoredMessage } from './memory-message.ts'

/** A message that waits for an attempt of one handler. */
export interface WaitingMessage {
  readonly original: StoredMessage
  readonly target: ReplayTarget
  /** By the monotonic clock; Infinity while it waits behind another. */
  dueAt: number
}

/** The messages of a group that wait long for an attempt of one handler. */
export class MemoryWaits {
  /** By the place of the message: its id and the name of the handler. */
  readonly #waiting = new Map<string, WaitingMessage>()
  /** The places of messages that keep their order, by handler and key. */
  readonly #orders = new Map<string, string[]>()

  get size(): number {
    return this.#waiting.size
  }

  /** Since when the oldest of them waits. */
  get oldestSince(): Date | undefined {
    const starts = [...this.#waiting.values()].flatMap(({ target }) => target.earlier?.firstFailedAt ?? [])
    return starts.toSorted((a, b) => a.getTime() - b.getTime())[0]
  }

  get all(): readonly WaitingMessage[] {
    return [...this.#waiting.values()]
  }

  /** Keeps a copy of a message until the wait is over. */
  postpone(message: PendingMessage, { delayMs, keepsOrder, ...wait }: Wait): void {
    const place = placeOf(message, wait.handlerName)
    const order = keepsOrder ? this.#join(orderOf(message, wait.handlerName), place) : [place]
    const dueAt = order[0] === place ? performance.now() + delayMs : Number.POSITIVE_INFINITY
    this.#waiting.set(place, { ...waitingCopy(message, wait, keepsOrder ? place : undefined), dueAt })
  }

  /**
   * Keeps a copy of a message behind those that wait in order, unless `limit` of them do.
   * @returns the number of those before it.
   */
  waitBehind(message: PendingMessage, handlerName: string, limit: number): number {
    const key = orderOf(message, handlerName)
    const order = this.#orders.get(key)
    if (order === undefined) return 0
    const place = placeOf(message, handlerName)
    const index = order.indexOf(place)
    if (placesOf(message.replayTarget).has(handlerName)) {
      // A replayed dead letter. If it is not in the order, the order has ended.
      if (index <= 0) return 0
    } else if (index >= 0)
      return Math.max(1, index) // after a crash, the copy may exist
    else if (order.length >= limit) return order.length
    this.#join(key, place)
    const wait = { handlerName, attempts: 0, firstFailedAt: new Date() }
    this.#waiting.set(place, { ...waitingCopy(message, wait, place), dueAt: Number.POSITIVE_INFINITY })
    return order.indexOf(place)
  }

  /** Gives a message that becomes a dead letter a place for each of these handlers, by their names. */
  park(message: PendingMessage, handlerNames: readonly string[]): ReadonlyMap<string, string> {
    return new Map(
      handlerNames.map((name) => {
        const place = placeOf(message, name)
        this.#join(orderOf(message, name), place)
        return [name, place]
      }),
    )
  }

  /** Gives up places of a message, and lets the messages behind it follow. */
  passOn(message: Pick<StoredMessage, 'id' | 'key'>, places: ReadonlyMap<string, string>): void {
    for (const [handlerName, place] of places) this.#leave(orderOf(message, handlerName), place)
  }

  #leave(key: string, place: string): void {
    const order = this.#orders.get(key) ?? []
    const index = order.indexOf(place)
    if (index < 0) return
    order.splice(index, 1)
    const [next] = order
    if (next === undefined) this.#orders.delete(key)
    // Without a copy, the next one is a dead letter, or has been delivered.
    const waiting = index === 0 && next !== undefined ? this.#waiting.get(next) : undefined
    if (waiting !== undefined) waiting.dueAt = performance.now()
  }

  /** Removes the messages whose waits are over, and returns them in the order in which they are due. */
  takeDue(): readonly WaitingMessage[] {
    const now = performance.now()
    const due = [...this.#waiting]
      .filter(([, { dueAt }]) => dueAt <= now)
      .sort(([, a], [, b]) => a.dueAt - b.dueAt)
    for (const [place] of due) this.#waiting.delete(place)
    return due.map(([, message]) => message)
  }

  /** How long the next message waits, in milliseconds; undefined if none is due at a known time. */
  nextInMs(): number | undefined {
    const next = Math.min(...[...this.#waiting.values()].map(({ dueAt }) => dueAt))
    return next === Number.POSITIVE_INFINITY ? undefined : Math.max(0, next - performance.now())
  }

  #join(key: string, place: string): readonly string[] {
    const order = this.#orders.get(key) ?? []
    if (!order.includes(place)) order.push(place)
    this.#orders.set(key, order)
    return order
  }
}

/** The messages that keep their order among each other. */
function orderOf({ key, id }: Pick<StoredMessage, 'id' | 'key'>, handlerName: string): string {
  return `${handlerName} ${key ?? `\0${id}`}`
}

/** Stays the same while the message waits several times. */
function placeOf({ id, replayTarget }: PendingMessage, handlerName: string): string {
  return replayTarget?.earlier?.place ?? replayTarget?.places?.get(handlerName) ?? `${id} ${handlerName}`
}

function waitingCopy(
  { id, key, headers, body, storedAt }: PendingMessage,
  { handlerName, attempts, firstFailedAt }: Pick<Wait, 'handlerName' | 'attempts' | 'firstFailedAt'>,
  place: string | undefined,
): Omit<WaitingMessage, 'dueAt'> {
  const earlier = { attempts, firstFailedAt, place }
  return {
    original: { id, key, headers, body, storedAt },
    target: { handlerNames: [handlerName], settledHandlers: [], earlier },
  }
}
