import type { OperatorHandler, Verb } from '../../src/operator/index.ts'

const ORIGIN = 'http://localhost'

/** Takes the viewer of a request from its headers, as a proxy would set them. */
export function authorizeByHeader(request: Request) {
  const roles = (request.headers.get('x-roles') ?? '').split(' ').filter((role) => role !== '')
  // The tests name roles that exist.
  return { name: request.headers.get('x-name') ?? 'nobody', roles: roles as Verb[] }
}

/** Somebody who opens pages and sends forms, without a browser. */
export function visitor(handler: OperatorHandler, name: string, roles: string) {
  const headers = { 'x-name': name, 'x-roles': roles }
  const send = async (path: string, init: RequestInit = {}) => {
    const request = new Request(new URL(path, ORIGIN), { ...init, headers: { ...headers, ...init.headers } })
    const response = await handler(request)
    const text = await response.text()
    const location = response.headers.get('location') ?? ''
    return { status: response.status, text, location, headers: response.headers }
  }
  return {
    get: (path: string) => send(path),
    /** Sends a form, and follows where it leads. */
    post: async (path: string, fields: Readonly<Record<string, string>> = {}) => {
      const answer = await send(path, {
        method: 'POST',
        headers: { origin: ORIGIN, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams(fields).toString(),
      })
      return answer.status === 303 ? { ...(await send(answer.location)), location: answer.location } : answer
    },
  }
}
