import { DuplicateEventTypeError } from './errors.ts'

/** A class, as far as its name and identity matter. */
interface Named {
  readonly name: string
}

const sites = new WeakMap<object, string>()

/**
 * Remembers where the source code defines an event class.
 * @param define - the function that the source code calls.
 */
export function noteDefinitionSite<C extends object>(eventClass: C, define: CallableFunction): C {
  const trace: { stack?: string } = {}
  Error.captureStackTrace(trace, define)
  const site = /\(?((?:file:\/\/|\/|[A-Z]:\\)[^()]*:\d+:\d+)\)?$/.exec(trace.stack?.split('\n')[1] ?? '')?.[1]
  if (site !== undefined) sites.set(eventClass, site)
  return eventClass
}

/** The error for a second class of an event type. It says so if a hot reload defined the same class again. */
export function duplicateEventType(eventType: string, known: Named, refused: Named): DuplicateEventTypeError {
  const [knownSite, refusedSite] = [siteOf(known), siteOf(refused)]
  const isSameSource = knownSite !== undefined && withoutQuery(knownSite) === withoutQuery(refusedSite ?? '')
  const remedy = isSameSource
    ? 'Both are the same source, evaluated twice: by a hot reload, or because it is loaded by two paths. Restart the ' +
      "process, or end the old class's subscriptions and use a new registry."
    : undefined
  return new DuplicateEventTypeError(eventType, named(known, knownSite), named(refused, refusedSite), remedy)
}

function siteOf(eventClass: object | null): string | undefined {
  for (let at = eventClass; at !== null; at = Object.getPrototypeOf(at)) {
    const site = sites.get(at)
    if (site !== undefined) return site
  }
  return undefined
}

/** Removes the query that a hot reload adds to the URL of a module. */
function withoutQuery(site: string): string {
  return site.replace(/\?[^:]*(?=:\d+:\d+$)/, '')
}

function named({ name }: Named, site: string | undefined): string {
  return site === undefined ? name : `${name} (defined at ${site})`
}
