import { describeValue } from '../errors.ts'
import type { HandlingMiddleware, HandlingMiddlewares } from '../handling/handling-middleware.ts'
import type { PublishMiddleware, PublishMiddlewares } from './publishing/publish-middleware.ts'

/** Functions around the handlers and the publishing of a bus. Pass it to `bus.use`. */
export interface BusMiddleware {
  readonly handle?: HandlingMiddleware
  readonly publish?: PublishMiddleware
}

/** Adds a middleware to a bus. @throws TypeError */
export function addMiddleware(
  given: HandlingMiddleware | BusMiddleware,
  handling: HandlingMiddlewares,
  publishing: PublishMiddlewares,
): void {
  const { handle, publish } = typeof given === 'function' ? { handle: given } : partsOf(given)
  if (handle !== undefined) handling.add(handle)
  if (publish !== undefined) publishing.add(publish)
}

function partsOf(given: BusMiddleware): BusMiddleware {
  const parts: Partial<Record<string, unknown>> =
    typeof given === 'object' && given !== null ? { ...given } : {}
  const { handle, publish } = parts
  const areFunctions = [handle, publish].every((part) => part === undefined || typeof part === 'function')
  if (areFunctions && (handle !== undefined || publish !== undefined)) return given
  throw new TypeError(
    `use takes a function (context, next), or an object with such functions as handle or publish, got ${describeValue(given)}.`,
  )
}
