import { DuplicateEventTypeError } from './errors.ts'

/** A class. Only its name and identity are used. */
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
  const site = placeIn(trace.stack?.split('\n')[1] ?? '')
  if (site !== undefined) sites.set(eventClass, site)
  return eventClass
}

/**
 * The error for a second class of an event type. If a hot reload has defined the same class again, the message says so.
 */
export function duplicateEventType(eventType: string, known: Named, refused: Named): DuplicateEventTypeError {
  const [knownSite, refusedSite] = [siteOf(known), siteOf(refused)]
  const isSameSource = knownSite !== undefined && withoutQuery(knownSite) === withoutQuery(refusedSite ?? '')
  const remedy = isSameSource
    ? 'Both have the same source, which was evaluated twice: by a hot reload, or because two paths load it. Restart the ' +
      'process, or end the subscriptions of the old class and use a new registry.'
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

/** The place in a line of a stack trace: `at name (file:1:2)` or `at file:1:2`; undefined if it names no file. */
function placeIn(line: string): string | undefined {
  const open = line.lastIndexOf('(')
  const place =
    line.endsWith(')') && open >= 0 ? line.slice(open + 1, -1) : line.slice(line.indexOf('at ') + 3)
  return /^(?:file:\/\/|\/|[A-Z]:)/.test(place) ? place : undefined
}

/** Removes the query of the module's URL, because a hot reload loads the module again with another query. */
function withoutQuery(site: string): string {
  const query = site.indexOf('?')
  if (query < 0) return site
  const line = site.indexOf(':', query)
  return site.slice(0, query) + (line < 0 ? '' : site.slice(line))
}

function named({ name }: Named, site: string | undefined): string {
  return site === undefined ? name : `${name} (defined at ${site})`
}
