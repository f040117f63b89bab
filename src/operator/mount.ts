/** The prefixes of requests whose framework says under which path the page is mounted. */
const prefixes = new WeakMap<Request, string>()

/** Notes the prefix that a framework has removed from the URL of a request. */
export function noteMount(request: Request, prefix: string): void {
  prefixes.set(request, prefix.replace(/\/$/, ''))
}

export interface Mount {
  /** What links start with; without a slash at the end. */
  readonly base: string
  /** The path behind it. Starts with a slash, and has none at its end, except that of the start page. */
  readonly path: string
}

/** Where the page is mounted. Some frameworks remove the prefix from the URL, and some do not. */
export function mountOf(request: Request, url: URL, basePath: string): Mount {
  const noted = prefixes.get(request)
  const base = noted ?? basePath
  const { pathname } = url
  const isWhole = noted === undefined && base !== '' && (pathname === base || pathname.startsWith(`${base}/`))
  const rest = isWhole ? pathname.slice(base.length) : pathname
  let end = rest.length
  while (rest[end - 1] === '/') end -= 1
  const path = rest.slice(0, end)
  return { base, path: path === '' ? '/' : path }
}
