import type { HandlerFailure } from '../../handling/dispatcher.ts'
import { type HandlerEntry, UNNAMED_HANDLER } from '../../handling/handler-registry.ts'
import type { DeadLetterReason, Delivery } from '../../transport/transport.ts'
import type { PendingHandlers } from './pending-handlers.ts'

/** A message that is no event, or whose payload breaks its schema. */
export function poison(consumerGroup: string, error: Error): DeadLetterReason {
  return reason({ consumerGroup, kind: 'deserialization_error', error })
}

/** A delivery that is given up, and the handlers that it was for. */
export interface GivenUp {
  readonly consumerGroup: string
  readonly delivery: Delivery
  readonly pending: PendingHandlers
}

/** Handlers that failed up to the last attempt. */
export function exhausted(
  { consumerGroup, pending }: GivenUp,
  failures: readonly HandlerFailure[],
  attempts: number,
  firstFailedAt: Date,
): DeadLetterReason {
  const failed = failures.map(({ handler }) => handler)
  return reason({
    consumerGroup,
    kind: 'max_retries_exceeded',
    error: failures[0]?.error ?? new Error('unknown'),
    handlerNames: [...notedNames(failed), ...pending.missing],
    settledHandlers: [...pending.settled, ...settledNames(pending.handlers, failed)],
    attempts,
    firstFailedAt,
  })
}

/** A message that no process that received it lived to settle. */
export function deliveryLimit({ consumerGroup, delivery, pending }: GivenUp): DeadLetterReason {
  const attempts = delivery.deliveryCount - 1
  return reason({
    consumerGroup,
    kind: 'delivery_limit_exceeded',
    error: new Error(`delivered ${attempts} times, and no process that had it lived to settle it`),
    handlerNames: [...notedNames(pending.handlers), ...pending.missing],
    settledHandlers: pending.settled,
    attempts,
  })
}

/** A message for handlers that are not here. */
export function handlerGone({ consumerGroup, pending }: GivenUp): DeadLetterReason {
  const names = pending.missing.filter((name) => name !== UNNAMED_HANDLER)
  const which =
    names.length === 0 ? 'the handler that this message waits for is' : `${names.join(', ')}: this handler is`
  return reason({
    consumerGroup,
    kind: 'handler_not_found',
    error: new Error(`${which} not subscribed here; subscribe it, or give the one that replaces it an alias`),
    handlerNames: pending.missing,
    settledHandlers: [...pending.settled, ...settledNames(pending.handlers, [])],
  })
}

/** The names under which the outcome of handlers is noted. */
export function settledNames(
  handlers: readonly HandlerEntry[],
  failed: readonly HandlerEntry[],
): readonly string[] {
  return handlers.flatMap((handler) => (failed.includes(handler) ? [] : (handler.id ?? [])))
}

function notedNames(handlers: readonly HandlerEntry[]): readonly string[] {
  return [...new Set(handlers.map(({ id }) => id ?? UNNAMED_HANDLER))]
}

function reason({
  consumerGroup,
  kind,
  error,
  handlerNames = [],
  settledHandlers = [],
  attempts = 0,
  firstFailedAt = new Date(),
}: {
  readonly consumerGroup: string
  readonly kind: DeadLetterReason['kind']
  readonly error: Error
  readonly handlerNames?: readonly string[]
  readonly settledHandlers?: readonly string[]
  readonly attempts?: number
  readonly firstFailedAt?: Date
}): DeadLetterReason {
  const { name: errorName, message: errorMessage } = error
  return {
    kind,
    errorName,
    errorMessage,
    handlerNames,
    settledHandlers: [...new Set(settledHandlers)],
    consumerGroup,
    attempts,
    firstFailedAt,
    failedAt: new Date(),
  }
}
