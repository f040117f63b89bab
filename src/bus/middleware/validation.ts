import { toError } from '../../errors.ts'
import { assertEventClass } from '../../events/event-registry.ts'
import type { DomainEvent, EventClass } from '../../events/index.ts'
import { NonRetryableError } from '../../handling/errors.ts'
import type { BusMiddleware } from '../bus-middleware.ts'

/**
 * Checks the events of a class by rules beyond its schema. `check` throws, or rejects, for an invalid event. An event that is
 * published with others is checked first: if one is invalid, `publish` rejects with its error, and none is published. An
 * invalid event that arrives reaches no handler and becomes a dead letter with the reason `rejected`.
 *
 * @example
 * bus.use(validation(OrderPaid, ({ amount }) => assert.ok(amount > 0)))
 */
export function validation<E extends DomainEvent>(
  eventClass: EventClass<E>,
  check: (event: E) => unknown,
): BusMiddleware {
  assertEventClass(eventClass)
  const isChecked = (event: DomainEvent): event is E => event.eventType === eventClass.eventType
  return {
    publish: async ({ events }, next) => {
      for (const event of events) if (isChecked(event)) await check(event)
      await next()
    },
    handle: async ({ event }, next) => {
      try {
        if (isChecked(event)) await check(event)
      } catch (cause) {
        throw new NonRetryableError(`The event is not valid: ${toError(cause).message}`, { cause })
      }
      await next()
    },
  }
}
