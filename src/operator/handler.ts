import { toError } from '../errors.ts'
import { Activity } from './activity.ts'
import { assetAt } from './assets/index.ts'
import { BusWatch } from './bus-watch.ts'
import { runChange } from './change.ts'
import { RequestContext } from './context.ts'
import { errorPage } from './error-page.ts'
import { checkHost, checkOrigin, readForm } from './guards.ts'
import { secured } from './headers.ts'
import { HttpError } from './http-error.ts'
import { documentOf } from './layout.ts'
import { Links } from './links.ts'
import { Masker } from './mask.ts'
import { mountOf } from './mount.ts'
import { type OperatorOptions, type ResolvedOperatorOptions, resolveOperatorOptions } from './options.ts'
import { routes } from './pages/index.ts'
import { type FoundRoute, type Page, type Route, routesAt } from './route.ts'
import { SECTIONS, type SectionName, sectionPath } from './sections.ts'
import { HandlerState } from './state.ts'
import { mayDo, type Verb, type Viewer } from './viewer.ts'

/** Answers the requests of the page. Pass it to a framework, or to `operatorListener` for Node.js. */
export interface OperatorHandler extends AsyncDisposable {
  (request: Request): Promise<Response>
  /** Ends what the page does in the background. The buses stay open. Idempotent. */
  close(): Promise<void>
}

/**
 * Creates the operator's page: a handler of web-standard requests, which every framework can mount. It uses the buses that it is
 * given, joins no consumer group, and does nothing while nobody looks.
 *
 * @throws ConfigError if an option is unknown, missing or wrong.
 */
export function createOperatorHandler(options: OperatorOptions): OperatorHandler {
  const frame = new Frame(resolveOperatorOptions(options))
  return Object.assign((request: Request) => frame.answer(request), {
    close: () => frame.close(),
    [Symbol.asyncDispose]: () => frame.close(),
  })
}

/** A request behind the guards. */
interface Visit {
  readonly request: Request
  readonly url: URL
  /** Behind the prefix. */
  readonly path: string
  readonly base: string
  viewer: Viewer | undefined
  found: FoundRoute | undefined
}

class Frame {
  readonly #options: ResolvedOperatorOptions
  readonly #mask: Masker
  readonly #activity: Activity
  readonly #state: HandlerState
  readonly #closing = new AbortController()
  readonly #sections: ReadonlySet<SectionName>
  readonly #routes: readonly Route[]

  constructor(options: ResolvedOperatorOptions) {
    this.#options = options
    this.#mask = new Masker(options.mask)
    this.#activity = new Activity(options.audit)
    this.#state = new HandlerState({ closed: this.#closing.signal, buses: options.buses })
    this.#routes = routes
    this.#sections = new Set(SECTIONS.map(({ name }) => name).filter((name) => this.#hasPage(name)))
  }

  #hasPage(name: SectionName): boolean {
    const { subscriptions, stores } = this.#options
    if (name === 'subscriptions' && subscriptions.size + stores.size === 0) return false
    const path = ['/:bus', ...sectionPath(name)].join('/')
    return this.#routes.some((route) => route.method === 'GET' && route.path === path)
  }

  close(): Promise<void> {
    this.#closing.abort()
    return Promise.resolve()
  }

  /** Never rejects. */
  async answer(request: Request): Promise<Response> {
    const visit = this.#visit(request)
    try {
      return secured(await this.#answer(visit))
    } catch (thrown) {
      return secured(this.#failed(visit, toError(thrown)))
    }
  }

  #visit(request: Request): Visit {
    const url = new URL(request.url)
    const { base, path } = mountOf(request, url, this.#options.basePath)
    return { request, url, path, base, viewer: undefined, found: undefined }
  }

  async #answer(visit: Visit): Promise<Response> {
    const { request, path } = visit
    checkHost(request, this.#options.hosts)
    const asset = assetAt(path)
    if (asset !== undefined) return assetResponse(asset.body, asset.type)
    if (request.method === 'POST') checkOrigin(request)
    const viewer = await this.#options.authorize(request)
    if (viewer instanceof Response) return viewer
    if (!isViewer(viewer)) throw new HttpError(403, 'You may not see this page.')
    visit.viewer = viewer
    const found = this.#find(visit)
    visit.found = found
    return this.#run(visit, found, viewer)
  }

  #find({ request, path }: Visit): FoundRoute {
    const { method } = request
    const found = routesAt(this.#routes, path)
    const right = found.find(({ route }) => route.method === (method === 'HEAD' ? 'GET' : method))
    if (right !== undefined) return right
    if (found.length === 0) throw new HttpError(404, 'There is no such page.')
    const allow = found.map(({ route }) => route.method).join(', ')
    throw new HttpError(405, `This page takes ${allow}.`, { allow })
  }

  async #run(visit: Visit, found: FoundRoute, viewer: Viewer): Promise<Response> {
    const { request } = visit
    const { route } = found
    const form = route.method === 'POST' ? await readForm(request) : new URLSearchParams()
    const context = this.#context(visit, form, viewer)
    const permit = () => this.#permit(route, context)
    if (route.action === undefined) {
      permit()
      this.#state.get(BusWatch.key).note(context.params['bus'])
      const shown = await route.handle(context)
      return shown instanceof Response ? shown : this.#document(visit, shown)
    }
    const outcome = await runChange(route, context, permit)
    return outcome instanceof Response ? outcome : this.#document(visit, outcome)
  }

  #permit(route: Route, context: RequestContext): void {
    const { bus, group } = context.params
    if (bus !== undefined && !this.#options.buses.has(bus)) throw new HttpError(404, 'There is no such page.')
    const given = typeof route.verb === 'string' ? [route.verb] : route.verb
    // The start page has no bus; it finds one that the viewer may see.
    const verbs = new Set<Verb>(bus === undefined ? given : ['see', ...given])
    for (const verb of verbs) context.require(verb, group)
  }

  #context(visit: Visit, form: URLSearchParams, viewer: Viewer): RequestContext {
    const { request, url } = visit
    const params = visit.found?.params ?? {}
    return new RequestContext({
      ...this.#options,
      ...{ request, url, params, form, viewer, busName: params['bus'] },
      sections: this.#sections,
      ...{ links: this.#links(visit), mask: this.#mask, activity: this.#activity, state: this.#state },
    })
  }

  #links({ base, url, path, found }: Visit): Links {
    return new Links(base, found?.params['bus'], url, path)
  }

  #document(visit: Visit, page: Page, headers: Readonly<Record<string, string>> = {}): Response {
    const { viewer, found, url } = visit
    const bus = found?.params['bus']
    const mayEnter = (name: string) =>
      viewer !== undefined && mayDo(viewer, 'see', { bus: name, group: undefined })
    const known = bus !== undefined && mayEnter(bus) && this.#options.buses.has(bus) ? bus : undefined
    const did = this.#activity.get(url.searchParams.get('did') ?? '')
    const text = documentOf(page, {
      links: this.#links(visit),
      viewer: viewer?.name,
      bus: known,
      buses: [...this.#options.buses.keys()].filter(mayEnter),
      sections: this.#sections,
      environment: this.#options.environment,
      ...this.#known(known, viewer),
      did: did?.by === viewer?.name ? did : undefined,
    })
    return new Response(text.toString(), {
      status: page.status ?? 200,
      headers: { 'content-type': 'text/html; charset=utf-8', ...headers },
    })
  }

  /** What the top shows of the bus. */
  #known(bus: string | undefined, viewer: Viewer | undefined) {
    if (bus === undefined || viewer === undefined) return { busState: undefined, deadLetters: undefined }
    const watch = this.#state.get(BusWatch.key)
    const isSeen = (group: string) => mayDo(viewer, 'see', { bus, group })
    return { busState: watch.stateOf(bus), deadLetters: watch.deadLettersOf(bus, isSeen) }
  }

  #failed(visit: Visit, error: Error): Response {
    const headers = error instanceof HttpError ? error.headers : {}
    const page = errorPage(error, this.#mask)
    if (page.status === 500)
      this.#options.logger.error('operator page failed', { error: toError(error.cause ?? error) })
    return this.#document(visit, page, headers)
  }
}

/** A program without types may return anything. */
function isViewer(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const roles: unknown = Reflect.get(value, 'roles')
  return (
    typeof Reflect.get(value, 'name') === 'string' && (Array.isArray(roles) || typeof roles === 'function')
  )
}

function assetResponse(body: string, type: string): Response {
  return new Response(body, {
    headers: { 'content-type': type, 'cache-control': 'public, max-age=31536000, immutable' },
  })
}
