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

/** Marks fields of all events with one of these types as sensitive, for the whole process. */
export function markSensitive(types: readonly string[], paths: readonly string[]): void {
  const added = paths.map((path) => path.split('.'))
  for (const type of types) marks().set(type, [...(marks().get(type) ?? []), ...added])
}

/** The paths of the sensitive fields of a type; of all types if it is unknown. A segment `*` is any one field or index. */
export function sensitivePaths(type: string | undefined): readonly (readonly string[])[] {
  return type === undefined ? [...marks().values()].flat() : (marks().get(type) ?? [])
}
