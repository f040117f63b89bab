import type { MessageHeaders } from '../codec/index.ts'
import type { Wait } from './waiting.ts'

/** Header of a replayed message: a JSON array with the names of the handlers that must handle it. */
export const REPLAY_HANDLERS = 'replay_handlers'

/** The handlers that a replayed message is for. A message that was not replayed has no target. */
export interface ReplayTarget {
  readonly handlerNames: readonly string[]
  /**
   * Handlers that had succeeded. Undefined if an earlier release stored the dead letter; its handler names may then be
   * names of functions.
   */
  readonly settledHandlers: readonly string[] | undefined
  /** The attempts before the message was stored for a long wait; undefined for a replayed dead letter. */
  readonly earlier?: EarlierAttempts | undefined
  /**
   * The places that a replayed dead letter holds in the orders of its key, by the names of the handlers. With places,
   * `handlerNames` is empty if the message is for all handlers.
   */
  readonly places?: ReadonlyMap<string, string> | undefined
}

/** The failed attempts of the handlers of a replay target. */
export interface EarlierAttempts {
  readonly attempts: number
  /** When the message was stored, if no attempt has failed. */
  readonly firstFailedAt: Date
  /** Identifies the message among those that keep their order; undefined if it does not keep it. */
  readonly place?: string | undefined
}

/** Header for the replay of a dead letter. */
export function replayHeader({
  handlerNames = [],
  settledHandlers,
  places,
}: {
  readonly handlerNames?: readonly string[] | undefined
  readonly settledHandlers?: readonly string[] | undefined
  readonly places?: ReadonlyMap<string, string> | undefined
}): string {
  const held = places === undefined || places.size === 0 ? undefined : Object.fromEntries(places)
  if (handlerNames.length === 0 && held === undefined) return '[]'
  return JSON.stringify({ handlers: handlerNames, settled: settledHandlers, places: held })
}

/** Header for a message that is delivered after a long wait of one handler. */
export function waitHeader(
  { handlerName, attempts, firstFailedAt }: Pick<Wait, 'handlerName' | 'attempts' | 'firstFailedAt'>,
  place?: string,
): string {
  const since = firstFailedAt.toISOString()
  return JSON.stringify({ handlers: [handlerName], settled: [], attempts, since, place })
}

/**
 * Returns the handlers that a replayed message is for; undefined if it is for all handlers. A malformed header is
 * ignored. Call it only for a message from the transport's own replay stream, queue or topic, because any producer can
 * write the header.
 */
export function replayTarget(headers: MessageHeaders): ReplayTarget | undefined {
  const text = headers[REPLAY_HANDLERS]
  if (text === undefined) return undefined
  const { handlers, settled, earlier, places } = parseTarget(text)
  if (handlers === undefined || (handlers.length === 0 && places === undefined)) return undefined
  return {
    handlerNames: handlers,
    settledHandlers: settled,
    ...(earlier && { earlier }),
    ...(places && { places }),
  }
}

/** The places that a message holds in the orders of its key, by the names of the handlers. */
export function placesOf(target: ReplayTarget | undefined): ReadonlyMap<string, string> {
  const [waiting] = target?.handlerNames ?? []
  const place = target?.earlier?.place
  if (place === undefined || waiting === undefined) return target?.places ?? NO_PLACES
  return new Map([[waiting, place]])
}

const NO_PLACES: ReadonlyMap<string, string> = new Map()

interface ParsedTarget {
  readonly handlers?: readonly string[]
  readonly settled?: readonly string[]
  readonly earlier?: EarlierAttempts | undefined
  readonly places?: ReadonlyMap<string, string> | undefined
}

function parseTarget(text: string): ParsedTarget {
  const value = parseJson(text)
  // Earlier releases wrote the names alone.
  if (isNames(value)) return { handlers: value }
  if (typeof value !== 'object' || value === null || !('handlers' in value) || !isNames(value.handlers))
    return {}
  const settled = 'settled' in value && isNames(value.settled) ? { settled: value.settled } : {}
  const places = 'places' in value ? readPlaces(value.places) : undefined
  return { handlers: value.handlers, ...settled, earlier: earlierAttempts(value), places }
}

/** Places as a JSON object has them. */
export function readPlaces(value: unknown): ReadonlyMap<string, string> | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const places = Object.entries(value).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  )
  return places.length === 0 ? undefined : new Map(places)
}

function earlierAttempts(value: object): EarlierAttempts | undefined {
  const { attempts, since, place }: { attempts?: unknown; since?: unknown; place?: unknown } = value
  if (typeof attempts !== 'number' || !Number.isSafeInteger(attempts) || attempts < 0) return undefined
  const firstFailedAt = new Date(typeof since === 'string' ? since : Number.NaN)
  return {
    attempts,
    firstFailedAt: Number.isNaN(firstFailedAt.getTime()) ? new Date() : firstFailedAt,
    ...(typeof place === 'string' && { place }),
  }
}

/** The strings of a JSON array; undefined if the text is not such an array. */
export function parseNames(text: string): readonly string[] | undefined {
  const value = parseJson(text)
  return isNames(value) ? value : undefined
}

function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((name) => typeof name === 'string')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // anything may stand in a header
  }
}
