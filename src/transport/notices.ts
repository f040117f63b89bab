/**
 * What a bus reports about its broker, in addition to the log: `bus.onNotice(listener)`.
 *
 * - `connectionLost`: the connection broke; the bus is reconnecting.
 * - `reconnected`: the connection is restored.
 * - `publishingBlocked`: the broker does not accept publishes; `reason` says why (an alarm of RabbitMQ).
 * - `publishingResumed`: the broker accepts publishes again.
 * - `topologyRestored`: a missing consumer group, queue or topic (`what`) was recreated.
 * - `eventsLost`: the broker no longer has events that were not handled yet; `detail` says which.
 * - `readFailed`: the broker rejected a command of the consumer, which retries it; `error` says why.
 * - `partitionsAdded`: a topic has more partitions than before (Kafka), so new events of an aggregate may go to another
 *   partition and be handled before older ones; `detail` has the numbers.
 * - `trimmingHeldBack`: `group` does not acknowledge entries, so the stream cannot be trimmed (Redis); it may be abandoned.
 * - `unassigned`: the consumer has no partition of its stream (Kafka), because its group assigned none to it or its join takes
 *   long, so it receives no events; `detail` says what may be the cause.
 * - `consumerNameTaken`: another live process uses this consumer's name in the group (Redis), so the two processes take
 *   over each other's messages; `detail` says what to do.
 * - `orderingDiffers`: another living consumer of the group has another `ordering` (Redis), so the events of an aggregate are
 *   not in order across the group; `detail` names a consumer.
 * - `handlerPaused`: many events of a handler (`handlerName`) fail for the same reason, so it pauses; see `outageGuard`.
 * - `handlerResumed`: an event of a paused handler has succeeded.
 * - `groupPaused`: an operator (`by`) has paused the consumer group (`bus.admin.pause`), so this consumer handles nothing; `why`
 *   and `at` are theirs.
 * - `groupResumed`: the consumer group is no longer paused.
 * - `waitingLineLong`: `count` events of an aggregate (`aggregateId`) wait behind another one for a handler (`handlerName`), of at
 *   most `limit` (`maxBehind`). Sent at half the limit, and at the limit (`isFull`), from which on further ones become dead letters.
 * - `pendingClaimed`: the bus took over `count` messages from a consumer that died or stopped.
 */
export type BusNotice =
  | { readonly type: 'connectionLost'; readonly error: Error }
  | { readonly type: 'reconnected' }
  | { readonly type: 'publishingBlocked'; readonly reason: string }
  | { readonly type: 'publishingResumed' }
  | { readonly type: 'topologyRestored'; readonly what: string }
  | { readonly type: 'eventsLost'; readonly detail: string; readonly count: number | undefined }
  | { readonly type: 'readFailed'; readonly error: Error }
  | { readonly type: 'partitionsAdded'; readonly detail: string }
  | { readonly type: 'trimmingHeldBack'; readonly group: string; readonly detail: string }
  | { readonly type: 'unassigned'; readonly detail: string }
  | { readonly type: 'consumerNameTaken'; readonly detail: string }
  | { readonly type: 'orderingDiffers'; readonly detail: string }
  | { readonly type: 'handlerPaused'; readonly handlerName: string; readonly error: Error }
  | { readonly type: 'handlerResumed'; readonly handlerName: string }
  | { readonly type: 'groupPaused'; readonly by: string; readonly why: string | undefined; readonly at: Date }
  | { readonly type: 'groupResumed' }
  | {
      readonly type: 'waitingLineLong'
      readonly handlerName: string
      readonly aggregateId: string
      readonly count: number
      readonly limit: number
      readonly isFull: boolean
    }
  | { readonly type: 'pendingClaimed'; readonly count: number }

/** Receives the notices of a bus. */
export type BusNoticeListener = (notice: BusNotice) => void
