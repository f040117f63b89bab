import { EventspineError } from '../errors.ts'

/** One reason why an event was refused. */
export interface EventIssue {
  /** Where: `customerId`, `lines[0].sku`; the event itself is the empty string. */
  readonly path: string
  /** Which rule it breaks. Never contains the payload. */
  readonly rule: string
}

/** An event's fields break the rules of its envelope or of its schema. Names type, paths and rules only. */
export class EventValidationError extends EventspineError {
  readonly code = 'EVENT_INVALID'
  readonly eventType: string
  readonly issues: readonly EventIssue[]

  constructor(eventType: string, issues: readonly EventIssue[], options?: ErrorOptions) {
    const listed = issues.map(({ path, rule }) => (path === '' ? rule : `${path}: ${rule}`)).join('; ')
    super(`${eventType} is not valid: ${listed}`, options)
    this.eventType = eventType
    this.issues = issues
  }
}

/** Another class is already known under the same event type. */
export class DuplicateEventTypeError extends EventspineError {
  readonly code = 'EVENT_TYPE_DUPLICATE'
  readonly eventType: string

  constructor(eventType: string, known: string, refused: string) {
    super(
      `Event type "${eventType}" belongs to the class ${known} and cannot also be registered for ${refused}. ` +
        'Give one of them another type, or use a registry of its own.',
    )
    this.eventType = eventType
  }
}

/** No class is registered for an event type. */
export class EventTypeNotFoundError extends EventspineError {
  readonly code = 'EVENT_TYPE_NOT_FOUND'
  readonly eventType: string
  /** The types that are registered, in alphabetical order. */
  readonly knownTypes: readonly string[]

  constructor(eventType: string, knownTypes: readonly string[]) {
    const known = knownTypes.length === 0 ? 'none is' : `known are: ${knownTypes.join(', ')}`
    super(`Event type "${eventType}" is not registered; ${known}. Register its class with registerEvent.`)
    this.eventType = eventType
    this.knownTypes = knownTypes
  }
}
