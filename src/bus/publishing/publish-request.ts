import type { Cause } from '../../events/causation.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { OutgoingMessage, PublishFailure } from '../../transport/transport.ts'
import type { OverdueWork, PublishDeadline } from './publish-deadlines.ts'

export type TraceHeaders = Readonly<Record<string, string>> | undefined

/** One turn of the event loop, as far as publishes start in it. */
export interface Turn {
  readonly startedAt: number
  /** When the publishes that started in it began to wait; Infinity until then. */
  endedAt: number
}

/** The events of one publish. A burst has many, so a request that waits consists of little more than these. */
export interface PublishRequest {
  readonly events: readonly DomainEvent[]
  readonly trace: TraceHeaders
  /** The event that caused those that have no cause. */
  readonly cause: Cause | undefined
  /** Set by the queue: the turn in which the request started. */
  turn: Turn | undefined
  /** Called when the outcome of each event is known. @param failures - by the index of the event. */
  settled(failures: readonly PublishFailure[]): void
  /** Called if an event cannot be encoded; then none was handed to the transport. */
  refused(error: Error): void
}

/** A request of which events are encoded or passed to the transport. */
export class Call {
  readonly request: PublishRequest
  readonly messages: OutgoingMessage[] = []
  /** Undefined until there is one. */
  failures: PublishFailure[] | undefined
  sent = 0
  /** Undefined until events are passed to the transport. */
  deadline: PublishDeadline | undefined
  /** Number of events whose outcome is not known yet. */
  #pending: number

  constructor(request: PublishRequest) {
    this.request = request
    this.#pending = request.events.length
  }

  get isEncoded(): boolean {
    return this.messages.length === this.request.events.length
  }

  /** The outcome of some events is known. */
  settle(count: number, failures: readonly PublishFailure[]): void {
    if (failures.length > 0) this.failures = [...(this.failures ?? []), ...failures]
    this.#pending -= count
    if (this.#pending > 0) return
    this.deadline?.end()
    this.request.settled(this.failures?.sort((a, b) => a.index - b.index) ?? NO_FAILURES)
  }
}

const NO_FAILURES: readonly PublishFailure[] = Object.freeze([])

/** Messages of a call that are passed to the transport together, until their outcome is known. */
export class Sending implements OverdueWork {
  readonly call: Call
  readonly messages: readonly OutgoingMessage[]
  readonly bytes: number
  readonly deadline: PublishDeadline
  /** Index of the first message in its call. */
  readonly first: number
  readonly #overdue: (sending: Sending) => void
  isSettled = false

  constructor(
    { call, messages, bytes, deadline }: Pick<Sending, 'call' | 'messages' | 'bytes' | 'deadline'>,
    overdue: (sending: Sending) => void,
  ) {
    this.call = call
    this.messages = messages
    this.bytes = bytes
    this.deadline = deadline
    this.first = call.sent
    this.#overdue = overdue
  }

  /** The failures of all messages. */
  failed(status: PublishFailure['status'], error: Error): readonly PublishFailure[] {
    return this.messages.map((_message, index) => ({ index, status, error }))
  }

  overdue(): void {
    if (!this.isSettled) this.#overdue(this)
  }
}
