import type { HandlerFailure } from '../../handling/dispatcher.ts'
import type { HandlerEntry } from '../../handling/handler-registry.ts'
import { replayHandlers } from '../../transport/replay-headers.ts'
import type { DeadLetterReason, Delivery } from '../../transport/transport.ts'

/** A message that is no event, or whose payload breaks its schema. */
export function poison(consumerGroup: string, error: Error): DeadLetterReason {
  return reason(consumerGroup, 'deserialization_error', error, [], 0)
}

/** Handlers that failed to the last attempt. */
export function exhausted(
  consumerGroup: string,
  failures: readonly HandlerFailure[],
  attempts: number,
  firstFailedAt: Date,
): DeadLetterReason {
  const names = failures.map(({ handler }) => handler.name)
  const error = failures[0]?.error ?? new Error('unknown')
  return reason(consumerGroup, 'max_retries_exceeded', error, names, attempts, firstFailedAt)
}

/** A message that nobody who had it lived to settle. */
export function deliveryLimit(
  consumerGroup: string,
  delivery: Delivery,
  pending: readonly HandlerEntry[],
): DeadLetterReason {
  const attempts = delivery.deliveryCount - 1
  const error = new Error(`delivered ${attempts} times, and no process that had it lived to settle it`)
  const names = pending.map(({ name }) => name)
  return reason(consumerGroup, 'delivery_limit_exceeded', error, names, attempts)
}

/** A message for handlers that are not here. */
export function handlerGone(consumerGroup: string, delivery: Delivery): DeadLetterReason {
  const names = replayHandlers(delivery.message.headers) ?? delivery.settledHandlers
  const error = new Error('none of the handlers this message is for is subscribed')
  return reason(consumerGroup, 'handler_not_found', error, names, 0)
}

function reason(
  consumerGroup: string,
  kind: DeadLetterReason['kind'],
  { name: errorName, message: errorMessage }: Error,
  handlerNames: readonly string[],
  attempts: number,
  firstFailedAt = new Date(),
): DeadLetterReason {
  const failedAt = new Date()
  return { kind, errorName, errorMessage, handlerNames, consumerGroup, attempts, firstFailedAt, failedAt }
}
