import type { DispatchObserver } from '../../handling/dispatcher.ts'
import type { Logger } from '../../observability/logger.ts'
import type { BusCounters } from './bus-counters.ts'

/** Counts and logs each failed run of a handler. */
export function failureObserver(counters: BusCounters, logger: Logger): DispatchObserver {
  return {
    handled: () => undefined,
    failed: ({ eventId, eventType }, { handler, error }, { attempt, messageId }) => {
      counters.handlerErrors += 1
      counters.failed(error)
      logger.warn('handler failed', {
        eventId,
        eventType,
        handlerName: handler.name,
        attempt,
        messageId,
        error,
      })
    },
  }
}
