import { EventspineError, sentence } from '../errors.ts'

/** One reason why an event is not valid. */
export interface EventIssue {
  /** Path of the field, such as `customerId` or `lines[0].sku`; empty for the event itself. */
  readonly path: string
  /** The rule that the field breaks. Never contains the payload. */
  readonly rule: string
}

/** Fields of an event break the rules of its envelope or schema. The message has the type, paths and rules, not the payload. */
export class EventValidationError extends EventspineError {
  static override readonly name = 'EventValidationError'
  readonly code = 'EVENT_INVALID'
  readonly eventType: string
  readonly issues: readonly EventIssue[]

  constructor(eventType: string, issues: readonly EventIssue[], options?: ErrorOptions) {
    const listed = issues.map(({ path, rule }) => (path === '' ? rule : `${path}: ${rule}`)).join('; ')
    super(sentence(`${eventType} is not valid: ${listed}`), options)
    this.eventType = eventType
    this.issues = issues
  }
}

/** Another class has the same event type. */
export class DuplicateEventTypeError extends EventspineError {
  static override readonly name = 'DuplicateEventTypeError'
  readonly code = 'EVENT_TYPE_DUPLICATE'
  readonly eventType: string

  constructor(
    eventType: string,
    known: string,
    refused: string,
    remedy = 'Give one of them another type, or use a separate registry.',
  ) {
    super(
      `Event type "${eventType}" belongs to the class ${known} and cannot also be registered for ${refused}. ${remedy}`,
    )
    this.eventType = eventType
  }
}

/** No class is registered for an event type. */
export class EventTypeNotFoundError extends EventspineError {
  static override readonly name = 'EventTypeNotFoundError'
  readonly code = 'EVENT_TYPE_NOT_FOUND'
  readonly eventType: string
  /** The types that are registered, in alphabetical order. */
  readonly knownTypes: readonly string[]

  constructor(eventType: string, knownTypes: readonly string[]) {
    const known = knownTypes.length === 0 ? 'none' : knownTypes.join(', ')
    super(
      `Event type "${eventType}" is not registered (registered: ${known}). Register its class with registerEvent.`,
    )
    this.eventType = eventType
    this.knownTypes = knownTypes
  }
}
