import { HttpError } from './http-error.ts'

/** Names of this machine. Another site can point a name of its own here, but not one of these. */
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

/** @throws HttpError 421 if the request was made to another host. */
export function checkHost(request: Request, hosts: readonly string[] | 'any' | undefined): void {
  if (hosts === 'any') return
  const host = hostOf(request)
  const isKnown = hosts === undefined ? LOOPBACK.has(host.replace(/:\d+$/, '')) : hosts.includes(host)
  if (isKnown) return
  throw new HttpError(
    421,
    `The page is not served under this host name. If ${JSON.stringify(host.slice(0, 200))} is right, add it to the option hosts.`,
  )
}

/** @throws HttpError 403 if the request may come from another site. */
export function checkOrigin(request: Request): void {
  const { headers } = request
  const site = headers.get('sec-fetch-site')
  const origin = headers.get('origin')
  const isOwn = site === null ? isOwnOrigin(origin, hostOf(request)) : site === 'same-origin'
  const [type = ''] = (headers.get('content-type') ?? '').split(';')
  const isForm = type.trim().toLowerCase() === 'application/x-www-form-urlencoded'
  if (isOwn && isForm) return
  throw new HttpError(403, 'A change must come from a form of this page.')
}

function isOwnOrigin(origin: string | null, host: string): boolean {
  return origin !== null && URL.canParse(origin) && new URL(origin).host === host
}

function hostOf(request: Request): string {
  return (request.headers.get('host') ?? new URL(request.url).host).toLowerCase()
}

/** Longest form, in bytes: a payload of a megabyte, encoded. */
const MAX_FORM_BYTES = 4 * 1024 * 1024
/** Longest time for a form to arrive, in milliseconds. */
const MAX_FORM_MS = 10_000

/** Reads a form, within limits. @throws HttpError 413, 408 */
export async function readForm(request: Request, maxMs = MAX_FORM_MS): Promise<URLSearchParams> {
  if (Number(request.headers.get('content-length') ?? 0) > MAX_FORM_BYTES) throw tooLarge()
  const reader = request.body?.getReader()
  if (reader === undefined) return new URLSearchParams()
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new HttpError(408, 'The form arrived too slowly.')), maxMs)
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), late.promise])
      if (done) return new URLSearchParams(Buffer.concat(chunks).toString('utf8'))
      bytes += value.byteLength
      if (bytes > MAX_FORM_BYTES) throw tooLarge()
      chunks.push(value)
    }
  } finally {
    clearTimeout(timer)
    reader.cancel().catch(() => undefined) // nobody needs the rest
  }
}

function tooLarge(): HttpError {
  return new HttpError(413, `A form must have at most ${MAX_FORM_BYTES / 1024 / 1024} MB.`, {
    connection: 'close',
  })
}
