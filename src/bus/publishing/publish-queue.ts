import { setImmediate as nextTurn } from 'node:timers'
import { toError } from '../../errors.ts'
import type { Cause } from '../../events/causation.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { OutgoingMessage, PublishFailure } from '../../transport/transport.ts'
import type { PublishDeadline } from './publish-deadlines.ts'

/** Maximum time for which a burst may block the event loop before other tasks run, in milliseconds. */
const SLICE_MS = 10
/** Maximum number of messages that the transport holds. Further events wait here and are not encoded yet. */
const MAX_SENT = 10_000
/** Maximum size of the bodies that the transport holds, in bytes, unless a single chunk is larger. */
const MAX_SENT_BYTES = 33_554_432
/** Maximum number of messages that are encoded, or passed to the transport, in one step. */
const CHUNK = 500
/**
 * Maximum number of messages that are passed to the transport in one turn of the event loop. The transport does most of
 * its work after that, in the same turn, so the time until then does not show how long the turn will take.
 */
const MAX_PER_TURN = 500

type TraceHeaders = Readonly<Record<string, string>> | undefined

export interface PublishQueueParts {
  readonly encode: (event: DomainEvent, trace: TraceHeaders, cause: Cause | undefined) => OutgoingMessage
  /** Hands messages to the transport. Never rejects. */
  readonly send: (
    messages: readonly OutgoingMessage[],
    deadline: PublishDeadline,
  ) => Promise<readonly PublishFailure[]>
  /** The error of an event that was not handed to the transport before its deadline. */
  readonly expired: () => Error
}

/** The events of one publish. A burst has many, so a request that waits consists of little more than these. */
export interface PublishRequest {
  readonly events: readonly DomainEvent[]
  readonly trace: TraceHeaders
  /** The event that caused those that have no cause. */
  readonly cause: Cause | undefined
  readonly deadline: PublishDeadline
  /** Called when the outcome of each event is known. @param failures - by the index of the event. */
  settled(failures: readonly PublishFailure[]): void
  /** Called if an event cannot be encoded; then none was handed to the transport. */
  refused(error: Error): void
}

/** A request of which events are encoded or passed to the transport. */
class Call {
  readonly request: PublishRequest
  readonly messages: OutgoingMessage[] = []
  readonly failures: PublishFailure[] = []
  sent = 0
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
  settle(count: number): void {
    this.#pending -= count
    if (this.#pending === 0) this.request.settled(this.failures.sort((a, b) => a.index - b.index))
  }
}

/**
 * Encodes the events of publishes and hands them to the transport, in the order of the requests. It works in slices, and
 * pauses while the transport holds the maximum, so that a burst neither blocks the event loop nor fills the memory.
 */
export class PublishQueue {
  readonly #parts: PublishQueueParts
  #requests: PublishRequest[] = []
  /** Requests before this index were passed to the transport, or have ended. */
  #head = 0
  /** The call of the first request, once it has started. */
  #first: Call | undefined
  #sent = 0
  #sentBytes = 0
  #isRunning = false
  /** Start of the current slice; undefined if no request has come in this turn of the event loop. */
  #sliceStart: number | undefined
  /** True until the slice has made a step. */
  #isFresh = true
  /** True once this turn of the event loop has done its part. Further requests then cost as little as possible. */
  #isSliceOver = false
  #sentInTurn = 0

  constructor(parts: PublishQueueParts) {
    this.#parts = parts
  }

  publish(request: PublishRequest): void {
    this.#requests.push(request)
    if (!this.#isSliceOver) this.#run()
  }

  #run(): void {
    if (this.#isRunning) return
    this.#isRunning = true
    this.#sliceStart ??= this.#startSlice()
    for (
      let request = this.#requests[this.#head];
      request !== undefined && this.#hasTime(this.#sliceStart);
      request = this.#requests[this.#head]
    ) {
      this.#first ??= new Call(request)
      if (!this.#step(this.#first)) break
    }
    this.#isRunning = false
  }

  /** A slice makes at least one step, so that a busy machine does not delay a single publish. */
  #hasTime(since: number): boolean {
    this.#isSliceOver ||=
      this.#sentInTurn >= MAX_PER_TURN || (!this.#isFresh && performance.now() - since > SLICE_MS)
    this.#isFresh = false
    return !this.#isSliceOver
  }

  /** All requests of one turn of the event loop share a slice. */
  #startSlice(): number {
    nextTurn(() => {
      this.#sliceStart = undefined
      this.#isSliceOver = false
      if (this.#head < this.#requests.length) this.#run()
    })
    this.#isFresh = true
    this.#sentInTurn = 0
    return performance.now()
  }

  /** Makes the next step for the first call. @returns false if there is no room for it. */
  #step(call: Call): boolean {
    if (call.request.deadline.hasPassed) this.#expire(call)
    else if (call.isEncoded || this.#encode(call)) return this.#send(call)
    return true
  }

  /** Encodes a chunk. @returns true if all events of the call are encoded. */
  #encode(call: Call): boolean {
    const { messages, request } = call
    const { events, trace, cause } = request
    try {
      for (const event of events.slice(messages.length, messages.length + CHUNK)) {
        messages.push(this.#parts.encode(event, trace, cause))
      }
    } catch (thrown) {
      this.#removeFirst()
      request.refused(toError(thrown))
      return false
    }
    return call.isEncoded
  }

  #send(call: Call): boolean {
    const { deadline } = call.request
    const first = call.sent
    const chunk = call.messages.slice(first, first + CHUNK)
    const bytes = chunk.reduce((sum, { body }) => sum + body.length, 0)
    const isFull = this.#sent + chunk.length > MAX_SENT || this.#sentBytes + bytes > MAX_SENT_BYTES
    if (this.#sent > 0 && isFull) {
      deadline.onPassed(() => this.#run())
      return false
    }
    deadline.onPassed(undefined)
    call.sent += chunk.length
    this.#sentInTurn += chunk.length
    deadline.handedOver()
    this.#sent += chunk.length
    this.#sentBytes += bytes
    if (call.sent === call.messages.length) this.#removeFirst()
    void this.#parts.send(chunk, deadline).then((failures) => {
      this.#sent -= chunk.length
      this.#sentBytes -= bytes
      if (failures.length < chunk.length) deadline.confirmed()
      for (const failure of failures) call.failures.push({ ...failure, index: first + failure.index })
      call.settle(chunk.length)
      this.#run()
    })
    return true
  }

  /** Called when the deadline has passed before all events were passed to the transport. */
  #expire(call: Call): void {
    this.#removeFirst()
    const { events } = call.request
    const error = this.#parts.expired()
    for (let index = call.sent; index < events.length; index += 1) {
      call.failures.push({ index, status: 'notStored', error })
    }
    call.settle(events.length - call.sent)
  }

  /** Work that is proportional to the number of requests, however many wait. */
  #removeFirst(): void {
    this.#first = undefined
    this.#head += 1
    if (this.#head < 1024 || this.#head * 2 < this.#requests.length) {
      if (this.#head < this.#requests.length) return
    }
    this.#requests = this.#requests.slice(this.#head)
    this.#head = 0
  }
}
