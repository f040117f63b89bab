import type { DomainEvent } from '../events/index.ts'
import type { EventHandler, EventHandlerFunction, HandlerContext } from './event-handler.ts'

/** Stores the keys of handled events. Implement it over a store of your choice. */
export interface HandledKeys {
  /** True if the key was added. */
  has(key: string): Promise<boolean>
  /** Stores the key. No-op if it is there already. */
  add(key: string): Promise<void>
}

/**
 * Wraps a handler so that it skips an event that it has already handled. The key is stored after the handler has
 * succeeded, so a crash in between repeats the handler. If that must not happen, use the inbox of a durable store. Pass
 * {@link idempotencyKeyOf} to systems that recognize a repeated request.
 *
 * @param name - identifies the handler. Keys that were stored under another name are ignored, so do not change the name
 * when the code moves.
 * @example
 * bus.subscribe(OrderPaid, once('send-receipt', keys, (event) => sendReceipt(event)))
 */
export function once<E extends DomainEvent>(
  name: string,
  keys: HandledKeys,
  handler: EventHandlerFunction<E>,
): EventHandler<E> {
  const running = new Map<string, Promise<unknown>>()
  const handle = async (key: string, event: E, context: HandlerContext): Promise<void> => {
    if (await keys.has(key)) return
    await handler(event, context)
    await keys.add(key)
  }
  return {
    name,
    async handle(event: E, context: HandlerContext): Promise<void> {
      const key = idempotencyKeyOf(name, event)
      // The second of two deliveries in this process waits for the first.
      const before = running.get(key) ?? Promise.resolve()
      const run = before.then(() => handle(key, event, context))
      const settled = run.catch(() => undefined) // reported to the caller
      running.set(key, settled)
      try {
        await run
      } finally {
        if (running.get(key) === settled) running.delete(key)
      }
    },
  }
}

/** Returns a key that is the same for each attempt of a handler at an event. */
export function idempotencyKeyOf(handlerName: string, event: Pick<DomainEvent, 'eventId'>): string {
  return `${handlerName}:${event.eventId}`
}
