import { writtenFormOf } from '../events/domain-event.ts'
import type { DomainEvent } from '../events/index.ts'
import { DecodeError } from './decode-error.ts'
import { EventLimitError } from './event-limit-error.ts'
import { type BodyLimits, checkBody, defaultBodyLimits } from './hostile-json.ts'
import { MAX_NAME } from './revive.ts'

/** The names and ids of an envelope. */
const NAMES = [
  'eventId',
  'eventType',
  'aggregateId',
  'aggregateType',
  'tenantId',
  'actorId',
  'correlationId',
  'causationId',
] as const satisfies readonly (keyof DomainEvent)[]

/**
 * Refuses an event that a codec with these limits could not decode.
 * @param texts - the body, and the JSON texts in it.
 * @throws EventLimitError
 */
export function refuseUndecodable(
  event: DomainEvent,
  limits: BodyLimits,
  ...texts: readonly (string | Uint8Array)[]
): void {
  refuseLongNames(event)
  if (texts.every((text) => isPlainlyWithin(text, limits))) return
  refuse(event, () => checkBody(texts, limits))
}

/**
 * Refuses an event that could not be read from a store with these limits.
 * @param texts - its JSON texts.
 * @throws EventLimitError
 */
export function refuseUnreadable(event: DomainEvent, limits: BodyLimits, ...texts: readonly string[]): void {
  refuseLongNames(event, 'stored')
  if (texts.every((text) => isPlainlyWithin(text, limits))) return
  refuse(event, () => checkBody(texts, limits), 'stored')
}

/**
 * Refuses an event that a codec with the default limits could not decode, without encoding it.
 * @throws EventLimitError
 */
export function refuseBeyondDefaults(event: DomainEvent): void {
  refuseLongNames(event)
  const { payload } = writtenFormOf(event)
  if (isFlat(payload) && isFlat(event.metadata)) return
  const budget = { nodes: 5000, characters: 1_000_000 }
  if (isSmall(payload, budget, 0) && isSmall(event.metadata, budget, 0)) return
  refuse(event, () => checkBody([JSON.stringify(event)], defaultBodyLimits))
}

function refuse(event: DomainEvent, check: () => void, action?: 'stored'): void {
  try {
    check()
  } catch (error) {
    throw error instanceof DecodeError ? new EventLimitError(event, error, action) : error
  }
}

/** @throws EventLimitError if a name or an id is longer than any consumer accepts. */
export function refuseLongNames(event: DomainEvent, action?: 'stored'): void {
  if (hasShortNames(event)) return
  for (const name of NAMES) {
    const length = event[name]?.length ?? 0
    if (length <= MAX_NAME) continue
    const text = `The field ${name} has ${length} characters, more than the ${MAX_NAME} allowed.`
    throw new EventLimitError(event, new DecodeError('too_large', text), action)
  }
}

/** True if no name is too long. It reads each field by its name, which takes a fifth of the time of a loop over `NAMES`. */
function hasShortNames(event: DomainEvent): boolean {
  return (
    event.eventId.length <= MAX_NAME &&
    event.eventType.length <= MAX_NAME &&
    event.aggregateId.length <= MAX_NAME &&
    event.aggregateType.length <= MAX_NAME &&
    isShort(event.tenantId) &&
    isShort(event.actorId) &&
    isShort(event.correlationId) &&
    isShort(event.causationId)
  )
}

function isShort(name: string | undefined): boolean {
  return name === undefined || name.length <= MAX_NAME
}

/** Texts up to this length are not counted if they have few brackets. The length is below the limit for digits. */
const SHORT = 4096

/**
 * True if a JSON text is certainly within the limits, without a pass over its characters: each counts at most once as a
 * value or as a field, and each level needs a bracket.
 */
function isPlainlyWithin(text: string | Uint8Array, limits: BodyLimits): boolean {
  if (typeof text !== 'string') return false
  const { length } = text
  if (length > SHORT || length * 3 > limits.maxBodyBytes) return false
  if (length >= limits.maxValues || length > limits.maxKeys) return false
  return countOf(text, '{') + countOf(text, '[') <= limits.maxDepth
}

function countOf(text: string, character: string): number {
  let count = 0
  for (let at = text.indexOf(character); at >= 0; at = text.indexOf(character, at + 1)) count += 1
  return count
}

/** Fields of an object that is checked without a budget. */
const FEW = 64

/** True if an object has few fields, and in them neither objects nor long texts. It is within all default limits. */
function isFlat(value: object): boolean {
  let left = FEW
  for (const name in value) {
    left -= 1
    if (left < 0 || name.length > FEW || !isPlain(Reflect.get(value, name))) return false
  }
  return true
}

function isPlain(item: unknown): boolean {
  if (typeof item === 'string') return item.length <= SHORT
  return typeof item === 'number' || typeof item === 'boolean' || item === null || item === undefined
}

/** Deepest level that is certainly within the default limits. */
const SMALL_DEPTH = 16

/** True if the JSON text of a value is certainly within the default limits. Stops when the budget is used up. */
function isSmall(value: unknown, budget: { nodes: number; characters: number }, depth: number): boolean {
  budget.nodes -= 1
  if (typeof value === 'string') budget.characters -= value.length
  if (budget.nodes < 0 || budget.characters < 0 || depth > SMALL_DEPTH) return false
  if (typeof value === 'bigint') return false
  if (typeof value !== 'object' || value === null) return true
  for (const [name, item] of Object.entries(value)) {
    budget.characters -= name.length
    budget.nodes -= name.length >> 6
    if (!isSmall(item, budget, depth + 1)) return false
  }
  return true
}
