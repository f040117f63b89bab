export { defineEvent } from './define-event.ts'
export { DomainEvent, type EventPayload } from './domain-event.ts'
export type { EnvelopeInput, EventEnvelope, EventMetadata } from './envelope.ts'
export {
  DuplicateEventTypeError,
  type EventIssue,
  EventTypeNotFoundError,
  EventValidationError,
} from './errors.ts'
export type {
  DefinedEventClass,
  EventClass,
  EventDefinition,
  EventDefinitionWithoutSchema,
  EventDefinitionWithSchema,
  EventNames,
  EventOf,
  Immutable,
} from './event-class.ts'
export { defaultRegistry, EventRegistry, registerEvent } from './event-registry.ts'
export { GenericEvent, type GenericEventInput } from './generic-event.ts'
export { sensitivePaths } from './sensitive.ts'
export { firstVersion, type UpcastChain, Upcasts } from './upcasts.ts'
