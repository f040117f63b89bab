import { readPlaces } from '../../transport/replay-headers.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { orderKey } from '../wire/place.ts'

/** The places that a dead letter holds in orders of its aggregate, as the server keeps them under its id. */
export interface ParkedPlaces {
  readonly group: string
  /** By the names of the handlers. */
  readonly places: ReadonlyMap<string, string>
}

export function writeParked({ group, places }: ParkedPlaces): string {
  return JSON.stringify({ group, places: Object.fromEntries(places) })
}

/** @returns undefined if the text is not one of `writeParked`. */
export function readParked(text: unknown): ParkedPlaces | undefined {
  if (typeof text !== 'string') return undefined
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return undefined
    const { group, places }: { group?: unknown; places?: unknown } = value
    const read = readPlaces(places)
    return typeof group === 'string' && read !== undefined ? { group, places: read } : undefined
  } catch {
    return undefined
  }
}

/** The keys of the orders in which a dead letter has places, and its member in each. */
export interface Orders {
  readonly orders: readonly string[]
  readonly members: readonly string[]
}

export function ordersOf({ group, places }: ParkedPlaces, keys: ResolvedRedisOptions['keys']): Orders {
  const members = [...places.values()]
  return { orders: members.map((member) => orderKey(keys, group, member)), members }
}
