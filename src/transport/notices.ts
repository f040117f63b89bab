/**
 * What a bus tells of its broker, beside the log: `bus.onNotice(listener)`.
 *
 * - `connectionLost`: the connection broke; the bus is reconnecting.
 * - `reconnected`: it is back.
 * - `publishingBlocked`: the broker takes no publishes at present; `reason` says why (an alarm of RabbitMQ).
 * - `publishingResumed`: it takes them again.
 * - `topologyRestored`: a vanished consumer group, queue or topic (`what`) was declared again.
 * - `eventsLost`: the broker no longer has events that were not handled; `detail` says which.
 * - `readFailed`: the broker refused a command of the consumer, which tries again; `error` says why.
 * - `partitionsAdded`: a topic has more partitions: events of an aggregate may go to another one from now on, and are in
 *   no order with what lies in the one before (Kafka); `detail` has the numbers.
 * - `pendingClaimed`: `count` messages of a consumer that died or stopped were taken over.
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
  | { readonly type: 'pendingClaimed'; readonly count: number }

export type BusNoticeListener = (notice: BusNotice) => void
