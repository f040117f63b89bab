import type { DomainEvent } from '../../events/index.ts'

/** One event that a program published during a run. */
export interface PublishedEvent {
  readonly event: DomainEvent
  /** The handler that published it; undefined if the test itself did, or code outside of handlers. */
  readonly by: string | undefined
  /** Why the publish failed; undefined if it succeeded. */
  readonly error: Error | undefined
}

/** One run of one handler. */
export interface HandledEvent {
  readonly event: DomainEvent
  readonly handlerName: string
  /** The name of the service, which is its consumer group. */
  readonly service: string
  readonly attempt: number
  /** The time of the kit's clock at the end, in milliseconds: how long all skipped delays together take. */
  readonly atMs: number
  /** Undefined if the handler succeeded. */
  readonly error: Error | undefined
}
