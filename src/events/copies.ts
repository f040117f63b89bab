/** Version of this package, for messages about a second copy of it. A test compares it with package.json. */
export const VERSION = '0.1.0'

/** A symbol of the global registry, which all copies of the package share. Each copy has its own classes. */
const COPY = Symbol.for('eventspine.version')

/** The marked prototypes of this copy. */
const OWN = new WeakSet<object>()

/** Marks the instances of a class as made by this copy of the package. */
export function markCopy(prototype: object): void {
  OWN.add(prototype)
  Object.defineProperty(prototype, COPY, { value: VERSION })
}

/**
 * Explains that a value comes from another copy of the package, so that `instanceof` does not recognize it.
 *
 * @param value - an instance of a marked class, or a class that extends one.
 * @returns undefined if the value does not come from a copy.
 */
export function otherCopyFault(value: unknown): string | undefined {
  const instance: unknown = typeof value === 'function' ? value.prototype : value
  const version = versionOf(instance)
  if (version === undefined || isOwn(instance)) return undefined
  const versions = version === VERSION ? `both of version ${VERSION}` : `version ${version}, here ${VERSION}`
  return (
    `It comes from another copy of eventspine (${versions}). Load only one copy: check \`npm ls eventspine\`, keep ` +
    'eventspine out of bundles that run in the same process, and do not evaluate it again in a hot reload.'
  )
}

/** True if a prototype of the value is marked by this copy: a class in place of its instance, or the reverse. */
function isOwn(value: unknown): boolean {
  for (
    let object = value;
    typeof object === 'object' && object !== null;
    object = Object.getPrototypeOf(object)
  ) {
    if (OWN.has(object)) return true
  }
  return false
}

function versionOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const version: unknown = Reflect.get(value, COPY)
  return typeof version === 'string' ? version : undefined
}
