import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { toError } from '../errors.ts'
import { definitionOf } from '../events/definition.ts'
import { assertEventClass } from '../events/event-registry.ts'
import { defaultRegistry, type EventClass, EventRegistry } from '../events/index.ts'
import { UsageError } from './exit-code.ts'

/**
 * The event classes that modules export, alone or in registries, and those in `defaultRegistry`.
 * @throws UsageError if a module cannot be loaded, or there are no classes.
 * @throws DuplicateEventTypeError
 */
export async function loadEventClasses(modules: readonly string[]): Promise<readonly EventClass[]> {
  const registry = new EventRegistry()
  for (const path of modules) {
    for (const value of Object.values(await load(path))) {
      for (const eventClass of classesIn(value)) registry.register(eventClass)
    }
  }
  for (const eventClass of classesIn(defaultRegistry)) registry.register(eventClass)
  const classes = [...classesIn(registry)]
  if (classes.length > 0) return classes
  throw new UsageError(
    `${modules.join(', ')} exports no event class. Export the classes that defineEvent returns, or a registry with them.`,
  )
}

async function load(path: string): Promise<object> {
  try {
    return await import(pathToFileURL(resolve(path)).href)
  } catch (thrown) {
    throw new UsageError(`${path} cannot be loaded: ${toError(thrown).message}`)
  }
}

function classesIn(value: unknown): readonly EventClass[] {
  if (value instanceof EventRegistry) return value.list().map((type) => value.get(type))
  if (typeof value !== 'function' || definitionOf(value as EventClass) === undefined) return []
  assertEventClass(value)
  return [value]
}
