import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describeValue } from '../errors.ts'
import { type EventPayload, payloadKeyFault } from './domain-event.ts'
import { asValidationError } from './envelope.ts'
import { type EventIssue, EventValidationError } from './errors.ts'
import { immutableCopy, UnsupportedValue } from './immutable.ts'
import { decodedForm, firstDifference, firstUnreadable, readsBackAs } from './round-trip.ts'

/** A checked payload, and the form in which it is written to JSON. */
export interface CheckedPayload {
  readonly payload: EventPayload
  readonly written: EventPayload
}

export type PayloadCheck = (payload: EventPayload, isConstruction: boolean) => CheckedPayload

/**
 * Checks the payload of an event without a schema. No schema converts it when it is decoded, so values whose type
 * changes in JSON are refused.
 */
export function trust(eventType: string, given: EventPayload, isConstruction: boolean): CheckedPayload {
  const checked = freezePayload(eventType, given)
  const fault = isConstruction ? firstUnreadable(checked.payload, '') : undefined
  if (fault === undefined) return checked
  const rule = `${fault.rule}; give ${eventType} a schema that converts it, or use its JSON form`
  throw new EventValidationError(eventType, [{ path: fault.path, rule }])
}

/** The payload of a decoded event. */
export function validate(eventType: string, schema: StandardSchemaV1, given: EventPayload): CheckedPayload {
  return freezePayload(eventType, runSchema(eventType, schema, given))
}

/**
 * Returns the payload of a new event as every consumer will receive it. Each consumer runs the schema again, on the
 * decoded JSON. If the schema or JSON changes the given payload, this function runs the schema on the decoded JSON
 * once: the schema must accept it and return an equal payload, otherwise the event is refused.
 */
export function validateNew(
  eventType: string,
  schema: StandardSchemaV1,
  given: EventPayload,
  refusesUnknown: boolean,
): CheckedPayload {
  const output = runSchema(eventType, schema, given)
  const same = copyIfEqual(output, given)
  if (same !== undefined) return { payload: same, written: same }
  if (refusesUnknown) refuseUnknownFields(eventType, output, given)
  const checked = freezePayload(eventType, output)
  if (readsBackAs(checked.payload, given)) return checked
  const decoded = decode(eventType, checked.payload)
  const again = freezePayload(eventType, readBack(eventType, schema, decoded))
  const path = firstDifference(decode(eventType, again.payload), decoded)
  if (path === undefined) return { payload: again.payload, written: decoded }
  const rule = 'is changed by the schema each time the event is decoded; make the transform idempotent'
  throw new EventValidationError(eventType, [{ path, rule }])
}

/**
 * A copy of a payload that the schema has not changed and whose fields have no fields of their own, which is the most
 * frequent kind. One pass over the fields checks everything that the general way checks.
 * @returns undefined for any other payload, including a wrong one.
 */
function copyIfEqual(output: EventPayload, given: EventPayload): EventPayload | undefined {
  const copy: Record<string, unknown> = {}
  const keys = Object.keys(output)
  for (const key of keys) {
    const value = output[key]
    if (value !== given[key] || !isScalar(value) || payloadKeyFault(key) !== undefined) return undefined
    copy[key] = value
  }
  return Object.keys(given).length === keys.length ? copy : undefined
}

/** True for values of which `immutableCopy` returns the value itself. */
function isScalar(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0)
  return typeof value === 'string' || typeof value === 'boolean' || value === null
}

/** Runs the schema on the decoded JSON of a new event. */
function readBack(eventType: string, schema: StandardSchemaV1, decoded: EventPayload): EventPayload {
  try {
    return runSchema(eventType, schema, decoded)
  } catch (error) {
    if (!(error instanceof EventValidationError)) throw error
    const issues = error.issues.map(({ path, rule }) => ({
      path,
      rule: `cannot be decoded: the schema refuses its own JSON, as it would for every consumer (${rule})`,
    }))
    throw new EventValidationError(eventType, issues, { cause: error })
  }
}

function decode(eventType: string, payload: EventPayload): EventPayload {
  try {
    // decodedForm returns an object for an object.
    return decodedForm(payload, '') as EventPayload
  } catch (error) {
    throw asValidationError(eventType, error)
  }
}

/** Runs a schema on a payload. @throws EventValidationError if it refuses the payload. */
export function runSchema(eventType: string, schema: StandardSchemaV1, payload: EventPayload): EventPayload {
  const result = schema['~standard'].validate(payload)
  if (result instanceof Promise) {
    // zod runs a schema again asynchronously if a function in it throws.
    result.catch(() => undefined)
    throw new TypeError(
      `The schema of ${eventType} is asynchronous, or a function in it throws an error; events need a synchronous ` +
        'schema whose functions report problems as issues.',
    )
  }
  if (result.issues !== undefined) {
    throw new EventValidationError(eventType, result.issues.map(toIssue))
  }
  const output = result.value
  if (typeof output !== 'object' || output === null || Array.isArray(output)) {
    throw new TypeError(`The schema of ${eventType} must return an object, got ${describeValue(output)}.`)
  }
  // It is an object, not an array, and its own fields are the payload.
  return output as EventPayload
}

function refuseUnknownFields(eventType: string, output: EventPayload, input: EventPayload): void {
  const unknown = Object.keys(input).filter((key) => !(key in output) && input[key] !== undefined)
  if (unknown.length === 0) return
  const rule = 'is not a field of this event'
  throw new EventValidationError(
    eventType,
    unknown.map((path): EventIssue => ({ path, rule })),
  )
}

function toIssue(issue: StandardSchemaV1.Issue): EventIssue {
  const path = (issue.path ?? [])
    .map((segment) => (typeof segment === 'object' ? segment.key : segment))
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index === 0 ? '' : '.'}${String(key)}`))
    .join('')
  // ArkType's messages start with the path.
  const rule = issue.message.startsWith(`${path} `) ? issue.message.slice(path.length + 1) : issue.message
  return { path, rule: rule.slice(0, 200) }
}

function freezePayload(eventType: string, given: EventPayload): CheckedPayload {
  const payload: Record<string, unknown> = {}
  const notes = { hasInstance: false }
  try {
    for (const key of Object.keys(given)) {
      const fault = payloadKeyFault(key)
      if (fault !== undefined) throw new UnsupportedValue(key, fault)
      const value = immutableCopy(given[key], key, notes)
      // JSON omits it, so a consumer does not have the field.
      if (value !== undefined) payload[key] = value
    }
  } catch (error) {
    throw asValidationError(eventType, error)
  }
  return { payload, written: notes.hasInstance ? decode(eventType, payload) : payload }
}
