import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { ReadableStream as NodeStream } from 'node:stream/web'
import { noteMount } from './mount.ts'

/** What frameworks add to a request of Node.js. */
interface FrameworkRequest extends IncomingMessage {
  /** Express, Nest, and what is built on `connect`: the URL before the mount path was removed from it. */
  readonly originalUrl?: string
  /** What a body parser has read. */
  readonly body?: unknown
  readonly rawBody?: unknown
}

/** Answers requests of `node:http`, and of what is built on it: `app.use('/ops', operatorListener(handler))`. */
export type OperatorListener = (request: IncomingMessage, response: ServerResponse) => void

/**
 * Serves a handler in Node.js, Express and NestJS, before or after their body parsers. It finds out the path under which
 * the framework mounts it.
 */
export function operatorListener(handler: (request: Request) => Promise<Response>): OperatorListener {
  return (request, response) => {
    void serve(handler, request, response)
  }
}

async function serve(
  handler: (request: Request) => Promise<Response>,
  message: FrameworkRequest,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  try {
    const request = requestOf(message, gone.signal)
    await send(await handler(request), message, response)
  } catch {
    // No request could be made of it, or the viewer has gone.
    if (response.headersSent) response.destroy()
    else
      response
        .writeHead(400, { 'content-type': 'text/plain', 'x-content-type-options': 'nosniff' })
        .end('Bad request.\n')
  }
}

function requestOf(message: FrameworkRequest, signal: AbortSignal): Request {
  const { method = 'GET', url = '/', originalUrl = url } = message
  const headers = new Headers()
  for (const [name, value] of Object.entries(message.headers)) {
    for (const one of typeof value === 'string' ? [value] : (value ?? [])) headers.append(name, one)
  }
  const init: RequestInit & { duplex?: 'half' } = { method, headers, signal }
  if (method !== 'GET' && method !== 'HEAD') {
    init.body = bodyOf(message)
    init.duplex = 'half'
  }
  const request = new Request(addressOf(url, message.headers.host), init)
  if (originalUrl !== url) noteMount(request, prefixOf(originalUrl, url))
  return request
}

/** A path that starts with two slashes names no host. */
function addressOf(url: string, host = 'localhost'): URL {
  return new URL(url.startsWith('/') ? `http://${host}${url}` : url)
}

/** What a framework has removed from the start of the URL. */
function prefixOf(original: string, url: string): string {
  if (original.endsWith(url)) return original.slice(0, -url.length)
  return original.split('?', 1)[0] ?? ''
}

/** The body, also if a parser has read it. */
function bodyOf(message: FrameworkRequest): string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> {
  const { body, rawBody } = message
  if (!message.readableEnded) {
    // Node.js and the web have one type for the same object.
    return Readable.toWeb(message) as NodeStream<Uint8Array> as ReadableStream<Uint8Array>
  }
  if (rawBody instanceof Uint8Array) return new Uint8Array(rawBody)
  if (body instanceof Uint8Array) return new Uint8Array(body)
  if (typeof body === 'string') return body
  const fields = new URLSearchParams()
  for (const [name, value] of Object.entries(typeof body === 'object' && body !== null ? body : {})) {
    for (const one of Array.isArray(value) ? value : [value]) fields.append(name, String(one))
  }
  return fields.toString()
}

async function send(answer: Response, message: IncomingMessage, response: ServerResponse): Promise<void> {
  const headers: Record<string, string | string[]> = {}
  for (const [name, value] of answer.headers) headers[name] = value
  const cookies = answer.headers.getSetCookie()
  if (cookies.length > 0) headers['set-cookie'] = cookies
  // A body that nobody has read to its end would be the start of the next request.
  if (!message.complete) headers['connection'] = 'close'
  response.writeHead(answer.status, headers)
  if (answer.body === null || message.method === 'HEAD') {
    response.end()
    await answer.body?.cancel()
    return
  }
  const reader = answer.body.getReader()
  response.once('close', () => {
    reader.cancel().catch(() => undefined) // the viewer has gone
  })
  for (;;) {
    const { done, value } = await reader.read()
    if (done || response.destroyed) break
    if (!response.write(value)) await Promise.race([once(response, 'drain'), once(response, 'close')])
  }
  response.end()
}
