import { pathToFileURL } from 'node:url'
import { toError } from '../../errors.ts'
import type { UserHandlers } from '../../verify/worker.ts'
import { UsageError } from '../exit-code.ts'

/** The events and handlers that a module exports. @throws UsageError if it cannot be loaded, or lacks them. */
export async function loadHandlers(path: string): Promise<UserHandlers> {
  const module = await import(pathToFileURL(path).href).catch((thrown: unknown) => {
    throw new UsageError(`${path} cannot be loaded: ${toError(thrown).message}`)
  })
  const { createEvent, subscribe } = module
  if (typeof createEvent === 'function' && typeof subscribe === 'function') return { createEvent, subscribe }
  throw new UsageError(
    `${path} must export createEvent({ aggregateId, n }), which returns an event, and subscribe(bus).`,
  )
}
