/** All copies of the package share the marks, so that none is lost. */
const MARKS = Symbol.for('eventspine.sensitive')

type Marks = Map<string, readonly (readonly string[])[]>

function marks(): Marks {
  // Only this file sets the property.
  const known = Reflect.get(globalThis, MARKS) as Marks | undefined
  if (known !== undefined) return known
  const fresh: Marks = new Map()
  Reflect.set(globalThis, MARKS, fresh)
  return fresh
}

/**
 * Marks fields of all events with one of these types as sensitive, for the whole process. Each definition calls it, also without
 * paths. The marks of several definitions of one type add up.
 */
export function markSensitive(types: readonly string[], paths: readonly string[]): void {
  const added = paths.map((path) => path.split('.'))
  for (const type of types) marks().set(type, [...(marks().get(type) ?? []), ...added])
}

/**
 * The paths of the sensitive fields of a type; those of all types if no class of this process has the type, so that nothing that
 * one of them hides is shown. A segment `*` is any one field or index.
 */
export function sensitivePaths(type: string | undefined): readonly (readonly string[])[] {
  const own = type === undefined ? undefined : marks().get(type)
  return own ?? [...marks().values()].flat()
}
