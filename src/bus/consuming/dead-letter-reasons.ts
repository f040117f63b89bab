import { stackOf } from '../../errors.ts'
import { type HandlerEntry, recordedName, UNNAMED_HANDLER } from '../../handling/handler-entry.ts'
import type { GivenUpHandler } from '../../handling/handler-retries.ts'
import { redact } from '../../redaction.ts'
import type { DeadLetterReason, Delivery } from '../../transport/transport.ts'
import { parkedNames } from './order-places.ts'
import { type PendingHandlers, settledNames } from './pending-handlers.ts'

/** Maximum length of the text of an error in a dead letter, in characters. */
const MAX_ERROR_TEXT = 1000

/** The group that gives messages up. */
export interface GivingUp {
  readonly consumerGroup: string
  /** True if dead letters keep the stacks of errors. */
  readonly deadLetterStacks: boolean
}

/** The message is not an event, or its payload does not match the schema. */
export function poison(
  { by: { consumerGroup, deadLetterStacks }, delivery, pending }: FailedDelivery,
  error: Error,
): DeadLetterReason {
  const parkedFor = parkedNames(pending.handlers, delivery)
  return reason({
    consumerGroup,
    kind: 'deserialization_error',
    error,
    keepsStack: deadLetterStacks,
    parkedFor,
  })
}

/** A delivery that is dead-lettered, and the handlers that it is for. */
export interface FailedDelivery {
  readonly by: GivingUp
  readonly delivery: Delivery
  readonly pending: PendingHandlers
}

/** Handlers get no further attempt. */
export function givenUp(
  { by: { consumerGroup, deadLetterStacks }, delivery, pending }: FailedDelivery,
  failures: readonly GivenUpHandler[],
  firstFailedAt: Date,
): DeadLetterReason {
  const failed = failures.map(({ handler }) => handler)
  const isRejected = failures.every(({ reason: why }) => why === 'rejected')
  return reason({
    consumerGroup,
    kind: isRejected ? 'rejected' : 'max_retries_exceeded',
    error: failures[0]?.error ?? new Error('Unknown.'),
    keepsStack: deadLetterStacks,
    handlerNames: [...recordedNames(failed), ...pending.missing],
    settledHandlers: [...pending.settled, ...settledNames(pending.handlers, failed)],
    parkedFor: parkedNames(failed, delivery),
    attempts: Math.max(...failures.map(({ attempts }) => attempts)),
    firstFailedAt,
  })
}

/** Every consumer that received the message crashed before settling it. */
export function deliveryLimit({ by, delivery, pending }: FailedDelivery): DeadLetterReason {
  const attempts = delivery.deliveryCount - 1
  return reason({
    consumerGroup: by.consumerGroup,
    kind: 'delivery_limit_exceeded',
    error: new Error(`Delivered ${attempts} times, but each process ended before it settled the message.`),
    handlerNames: [...recordedNames(pending.handlers), ...pending.missing],
    settledHandlers: pending.settled,
    parkedFor: parkedNames(pending.handlers, delivery),
    attempts,
  })
}

/** A handler that the message is for is not subscribed. */
export function handlerGone({ by, pending }: Omit<FailedDelivery, 'delivery'>): DeadLetterReason {
  const names = pending.missing.filter((name) => name !== UNNAMED_HANDLER)
  const which = names.length === 0 ? 'A handler that this message is for' : `The handler ${names.join(', ')}`
  return reason({
    consumerGroup: by.consumerGroup,
    kind: 'handler_not_found',
    error: new Error(
      `${which} is not subscribed. Subscribe it, or give the handler that replaces it an alias.`,
    ),
    handlerNames: pending.missing,
    settledHandlers: [...pending.settled, ...settledNames(pending.handlers, [])],
  })
}

/**
 * No handler is subscribed to the type.
 * @param keptMs - how long the message was kept for another member of the group that handles the type.
 */
export function noHandler(
  { consumerGroup }: GivingUp,
  eventType: string,
  keptMs: number | undefined,
): DeadLetterReason {
  const text =
    keptMs === undefined
      ? `No handler of the consumer group is subscribed to ${eventType}.`
      : `This consumer has no handler for ${eventType}. Another member of its group announced one, but did not take ` +
        `over the event within ${keptMs} ms (handoverTimeoutMs).`
  return reason({ consumerGroup, kind: 'handler_not_found', error: new Error(text) })
}

function recordedNames(handlers: readonly HandlerEntry[]): readonly string[] {
  return [...new Set(handlers.map(recordedName))]
}

function reason({
  consumerGroup,
  kind,
  error,
  keepsStack = false,
  handlerNames = [],
  settledHandlers = [],
  parkedFor = [],
  attempts = 0,
  firstFailedAt = new Date(),
}: {
  readonly consumerGroup: string
  readonly kind: DeadLetterReason['kind']
  readonly error: Error
  readonly keepsStack?: boolean
  readonly handlerNames?: readonly string[]
  readonly settledHandlers?: readonly string[]
  readonly parkedFor?: readonly string[]
  readonly attempts?: number
  readonly firstFailedAt?: Date
}): DeadLetterReason {
  return {
    kind,
    errorName: redact(String(error.name)).slice(0, MAX_ERROR_TEXT).toWellFormed(),
    errorMessage: redact(String(error.message)).slice(0, MAX_ERROR_TEXT).toWellFormed(),
    ...(keepsStack && { errorStack: stackOf(error) }),
    handlerNames,
    settledHandlers: [...new Set(settledHandlers)],
    ...(parkedFor.length > 0 && { parkedFor }),
    consumerGroup,
    attempts,
    firstFailedAt,
    failedAt: new Date(),
  }
}
