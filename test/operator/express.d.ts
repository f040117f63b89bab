// What the tests use of Express, which has no types of its own. Both versions have it.
declare module 'express' {
  import type { RequestListener } from 'node:http'

  interface Router {
    (...parameters: Parameters<RequestListener>): void
    use(handler: RequestListener): void
    use(path: string, handler: RequestListener): void
  }
  interface Express {
    (): Router
    Router(): Router
    json(): RequestListener
    urlencoded(options: { readonly extended: boolean }): RequestListener
  }
  const express: Express
  export default express
}

declare module 'express4' {
  export { default } from 'express'
}
