import { AsyncLocalStorage } from 'node:async_hooks'
import type { LogFields } from '../../observability/logger.ts'
import type { BusMiddleware } from '../bus-middleware.ts'

const current = new AsyncLocalStorage<LogFields>()

/**
 * The fields of the event whose handler is running, for the lines that it logs; no fields outside of handlers. They need the
 * middleware {@link loggingContext}.
 *
 * @example
 * const logger = pino({ mixin: currentLogFields })
 */
export function currentLogFields(): LogFields {
  return current.getStore() ?? {}
}

/** Makes the ids of an event available to the log lines of its handlers; see {@link currentLogFields}. */
export function loggingContext(): BusMiddleware {
  return {
    handle: ({ event, handlerName, attempt, messageId }, next) => {
      const { eventId, eventType, aggregateId, correlationId } = event
      return current.run(
        { eventId, eventType, aggregateId, correlationId, handlerName, attempt, messageId },
        next,
      )
    },
  }
}
