import type { RequestContext } from './context.ts'
import type { Html } from './html.ts'
import type { SectionName } from './sections.ts'
import type { Verb } from './viewer.ts'

/** What a route shows within the layout. */
export interface Page {
  readonly title: string
  readonly section: SectionName | undefined
  readonly main: Html
  /** Default 200. */
  readonly status?: number
  /** The regions of the page are read again after these seconds; the whole page if there is no script. */
  readonly refreshSeconds?: number
}

interface AnyRoute {
  /** Segments such as `/:bus/groups/:group`; `:name` matches one segment. The paths of sections start with `/:bus`. */
  readonly path: string
  /** The verb that the viewer needs in addition to `see`. The group of the place is the parameter `:group`. */
  readonly verb: Verb | readonly Verb[]
}

/** A page, a download or a stream. It changes nothing. */
export interface ReadRoute extends AnyRoute {
  readonly method: 'GET'
  readonly action?: undefined
  handle(context: RequestContext): Promise<Page | Response>
}

/** A form that was sent. The frame records it before and after `handle`, also if it is refused or fails. */
export interface ChangeRoute extends AnyRoute {
  readonly method: 'POST'
  /** What is recorded, such as `groups.pause`. */
  readonly action: string
  /** What is recorded of the form, without payloads. The parameters of the path are recorded in any case. */
  target?(context: RequestContext): Readonly<Record<string, unknown>>
  /** Makes the change. Returns the link to the next page of the viewer, usually with the status of the change. */
  handle(context: RequestContext): Promise<Done | Page | Response>
}

/** A form that is checked and shown again. It changes nothing, so it is not recorded. */
export interface CheckRoute extends AnyRoute {
  readonly method: 'POST'
  readonly action?: undefined
  handle(context: RequestContext): Promise<Page | Response>
}

/** A change was made. */
export interface Done {
  /** The next page of the viewer: a link of `context.links`. */
  readonly goTo: string
  /** One sentence that the page shows, such as `Paused billing.`. */
  readonly text: string
  /** How many things were changed, for the record. */
  readonly count?: number
}

export type Route = ReadRoute | ChangeRoute | CheckRoute

export interface FoundRoute {
  readonly route: Route
  readonly params: Readonly<Record<string, string>>
}

/** The routes whose path matches, whatever their method. Literal segments are stronger than parameters. */
export function routesAt(routes: readonly Route[], path: string): readonly FoundRoute[] {
  const segments = path.split('/')
  const found = routes.flatMap((route) => {
    const params = paramsOf(route.path.split('/'), segments)
    return params === undefined ? [] : [{ route, params }]
  })
  const fewest = Math.min(...found.map(({ params }) => Object.keys(params).length))
  return found.filter(({ params }) => Object.keys(params).length === fewest)
}

function paramsOf(pattern: readonly string[], segments: readonly string[]) {
  if (pattern.length !== segments.length) return undefined
  const params: Record<string, string> = {}
  for (const [index, part] of pattern.entries()) {
    const given = decoded(segments[index] ?? '')
    if (given === undefined) return undefined
    if (part.startsWith(':') && given !== '') params[part.slice(1)] = given
    else if (part !== given) return undefined
  }
  return params
}

function decoded(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}
