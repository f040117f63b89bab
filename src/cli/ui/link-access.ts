import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Verb, Viewer } from '../../operator/index.ts'

/** Lets in the browser that opens a link, which works once. */
export class LinkAccess {
  readonly #cookie: string
  readonly #roles: readonly Verb[]
  readonly #session = randomBytes(24).toString('base64url')
  #token: string | undefined = randomBytes(24).toString('base64url')

  /** @param port - browsers send the cookies of all ports of a host. */
  constructor(port: number, roles: readonly Verb[]) {
    this.#cookie = `eventspine-ui-${port}`
    this.#roles = roles
  }

  /** What is appended to the address; it works once. */
  get query(): string {
    return `?token=${this.#token ?? ''}`
  }

  readonly authorize = (request: Request): Viewer | Response => {
    const url = new URL(request.url)
    const token = url.searchParams.get('token')
    if (token !== null && this.#token !== undefined && isSame(token, this.#token)) {
      this.#token = undefined
      return this.#welcome()
    }
    const cookie = cookieOf(request, this.#cookie)
    if (cookie !== undefined && isSame(cookie, this.#session)) return { name: 'operator', roles: this.#roles }
    return new Response(REFUSED, { status: 401, headers: { 'content-type': 'text/plain; charset=utf-8' } })
  }

  /** A page instead of a redirect: a browser that comes from another site would not send the strict cookie with that. */
  #welcome(): Response {
    const page =
      '<!doctype html><html lang="en"><title>eventspine</title><meta http-equiv="refresh" content="0;url=./"><a href="./">Open the page</a>'
    return new Response(page, {
      headers: {
        'content-type': 'text/html; charset=utf-8',
        'set-cookie': `${this.#cookie}=${this.#session}; HttpOnly; SameSite=Strict; Path=/`,
      },
    })
  }
}

const REFUSED =
  'Open the link that eventspine ui has printed. It works once, in one browser; start it again for another link.\n'

function cookieOf(request: Request, name: string): string | undefined {
  const pairs = (request.headers.get('cookie') ?? '').split(';').map((pair) => pair.trim())
  return pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1)
}

/** Compares in a time that says nothing about the secret. */
export function isSame(given: string, secret: string): boolean {
  return timingSafeEqual(digest(given), digest(secret))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
