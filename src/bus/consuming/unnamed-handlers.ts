import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import type { Logger } from '../../observability/logger.ts'

/** After a restart, it is unknown whether a handler without a name has succeeded, so it handles the event again. */
export function warnOfUnnamedHandlers(handlers: HandlerRegistry, logger: Logger): void {
  const eventTypes = handlers.typesWithUnnamedHandlers()
  if (eventTypes.length === 0) return
  const remedy = 'pass { name } to subscribe'
  logger.warn('handlers without a name handle an event again after a restart or replay', {
    eventTypes,
    remedy,
  })
}
