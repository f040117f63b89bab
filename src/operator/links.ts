/** Values of a query. Those that are undefined or empty are left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>

/** Makes the links of the page, which work under any prefix. */
export class Links {
  readonly #base: string
  readonly #bus: string | undefined
  readonly #url: URL
  readonly #path: string

  /** @param base - the prefix without a slash at the end. @param path - the path of the request behind the prefix. */
  constructor(base: string, bus: string | undefined, url: URL, path: string) {
    this.#base = base
    this.#bus = bus
    this.#url = url
    this.#path = path
  }

  /** A path of the page, from its segments, which are encoded: `to(['orders', 'groups', name], { filter })`. */
  to(segments: readonly string[], query: Query = {}): string {
    return `${this.#base}/${segments.map((segment) => encodeURIComponent(segment.toWellFormed())).join('/')}${queryOf(query)}`
  }

  /** A path of the bus of this request: `bus(['groups', name])`. */
  bus(segments: readonly string[], query: Query = {}): string {
    return this.to([...(this.#bus === undefined ? [] : [this.#bus]), ...segments], query)
  }

  /** This page with some other values in its query; undefined removes one. */
  here(changes: Query = {}): string {
    const given = Object.fromEntries(this.#url.searchParams)
    delete given['did']
    return `${this.#base}${this.#path}${queryOf({ ...given, ...changes })}`
  }
}

function queryOf(query: Query): string {
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') params.set(name, String(value))
  }
  const text = params.toString()
  return text === '' ? '' : `?${text}`
}
