import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { EventClass } from './event-class.ts'
import type { Upcasts } from './upcasts.ts'

/** The parts of a definition that an event class does not show. */
export interface HiddenDefinition {
  readonly schema: StandardSchemaV1 | undefined
  readonly upcasts: Upcasts<unknown> | undefined
  /** The version in which events are written. */
  readonly writtenVersion: number
}

const definitions = new WeakMap<object, HiddenDefinition>()

export function rememberDefinition(eventClass: EventClass, definition: HiddenDefinition): void {
  definitions.set(eventClass, definition)
}

/** The definition of a class, or of the class that it extends. */
export function definitionOf(eventClass: EventClass): HiddenDefinition | undefined {
  for (let at: object | null = eventClass; at !== null; at = Object.getPrototypeOf(at)) {
    const definition = definitions.get(at)
    if (definition !== undefined) return definition
  }
  return undefined
}
