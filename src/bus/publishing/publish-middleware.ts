import { describeValue } from '../../errors.ts'
import { assertEvent } from '../../events/domain-event.ts'
import type { DomainEvent } from '../../events/index.ts'
import { runThrough } from '../../kit/middleware.ts'

/** What a middleware around publishing receives. */
export interface PublishContext {
  /** The events of the call, as the middleware before it has passed them on. */
  readonly events: readonly DomainEvent[]
}

/**
 * Runs around each `publish`. `next` publishes the events, or those that it is given instead, and rejects as `publish` does.
 * What the middleware throws before that, `publish` rejects with, and nothing is published.
 */
export type PublishMiddleware = (
  context: PublishContext,
  next: (events?: readonly DomainEvent[]) => Promise<void>,
) => unknown

type Publish = (events: readonly DomainEvent[]) => Promise<void>

/** The middleware of a bus around its publishing. */
export class PublishMiddlewares {
  #list: readonly PublishMiddleware[] = []

  get isEmpty(): boolean {
    return this.#list.length === 0
  }

  /** Adds a middleware within those that were added before. Takes effect with the next publish. */
  add(middleware: PublishMiddleware): void {
    this.#list = [...this.#list, middleware]
  }

  /** @throws what a middleware or the publish throws. */
  run(events: readonly DomainEvent[], publish: Publish): Promise<void> {
    return runThrough<PublishContext, readonly DomainEvent[]>(
      this.#list,
      (passed) => ({ events: assertEvents(passed) }),
      async (passed) => {
        if (assertEvents(passed).length > 0) await publish(passed)
      },
      events,
    )
  }
}

/** @throws TypeError */
export function assertEvents(events: readonly DomainEvent[]): readonly DomainEvent[] {
  if (!Array.isArray(events)) {
    throw new TypeError(`publish takes an array of events, got ${describeValue(events)}.`)
  }
  for (const event of events) assertEvent(event)
  return events
}
