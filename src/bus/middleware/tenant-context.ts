import { AsyncLocalStorage } from 'node:async_hooks'
import { withTenantUnlessSet } from '../../events/domain-event.ts'
import type { BusMiddleware } from '../bus-middleware.ts'

const current = new AsyncLocalStorage<string | undefined>()

/** The tenant for which the calling code runs; undefined for none. Handlers need the middleware {@link tenantContext}. */
export function currentTenant(): string | undefined {
  return current.getStore()
}

/** Runs a function, such as the handling of a request, for a tenant. @returns its result. */
export function runAsTenant<R>(tenantId: string | undefined, body: () => R): R {
  return current.run(tenantId, body)
}

/**
 * Runs each handler for the tenant of its event, and gives published events without a tenant the current one. An event
 * that came from a broker is published as it is.
 */
export function tenantContext(): BusMiddleware {
  return {
    handle: ({ event }, next) => current.run(event.tenantId, next),
    publish: ({ events }, next) => {
      const tenantId = currentTenant()
      return tenantId === undefined
        ? next()
        : next(events.map((event) => withTenantUnlessSet(event, tenantId)))
    },
  }
}
