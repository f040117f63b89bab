import { setImmediate as nextTurn } from 'node:timers'
import { toError } from '../../errors.ts'
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
const CHUNK = 1000

type TraceHeaders = Readonly<Record<string, string>> | undefined

export interface PublishQueueParts {
  readonly encode: (event: DomainEvent, trace: TraceHeaders) => OutgoingMessage
  /** Hands messages to the transport. Never rejects. */
  readonly send: (
    messages: readonly OutgoingMessage[],
    deadline: PublishDeadline,
  ) => Promise<readonly PublishFailure[]>
  /** The error of an event that was not handed to the transport before its deadline. */
  readonly expired: () => Error
}

interface Call {
  readonly events: readonly DomainEvent[]
  readonly trace: TraceHeaders
  readonly deadline: PublishDeadline
  readonly messages: OutgoingMessage[]
  readonly failures: PublishFailure[]
  readonly outcome: PromiseWithResolvers<readonly PublishFailure[]>
  sent: number
  /** Number of events whose outcome is not known yet. */
  pending: number
}

/**
 * Encodes the events of publishes and hands them to the transport, in the order of the calls. It works in slices, and
 * pauses while the transport holds the maximum, so that a burst neither blocks the event loop nor fills the memory.
 */
export class PublishQueue {
  readonly #parts: PublishQueueParts
  #calls: Call[] = []
  #head = 0
  #sent = 0
  #sentBytes = 0
  #isRunning = false
  /** Start of the current slice; undefined if no call has come in this turn of the event loop. */
  #sliceStart: number | undefined
  /** True until the slice has made a step. */
  #isFresh = true

  constructor(parts: PublishQueueParts) {
    this.#parts = parts
  }

  /**
   * @returns the failures, by the index of the event.
   * @throws what `encode` throws; then none of the events was handed to the transport.
   */
  publish(
    events: readonly DomainEvent[],
    trace: TraceHeaders,
    deadline: PublishDeadline,
  ): Promise<readonly PublishFailure[]> {
    const outcome = Promise.withResolvers<readonly PublishFailure[]>()
    this.#calls.push({
      events,
      trace,
      deadline,
      messages: [],
      failures: [],
      outcome,
      sent: 0,
      pending: events.length,
    })
    this.#run()
    return outcome.promise
  }

  #run(): void {
    if (this.#isRunning) return
    this.#isRunning = true
    this.#sliceStart ??= this.#startSlice()
    for (let call = this.#calls[this.#head]; call !== undefined; call = this.#calls[this.#head]) {
      // A slice makes at least one step, so that a busy machine does not delay a single publish.
      if (!this.#isFresh && performance.now() - this.#sliceStart > SLICE_MS) break
      this.#isFresh = false
      if (!this.#step(call)) break
    }
    this.#isRunning = false
  }

  /** All calls of one turn of the event loop share a slice. */
  #startSlice(): number {
    nextTurn(() => {
      this.#sliceStart = undefined
      if (this.#head < this.#calls.length) this.#run()
    })
    this.#isFresh = true
    return performance.now()
  }

  /** Makes the next step for the first call. @returns false if there is no room for it. */
  #step(call: Call): boolean {
    const { events, messages, deadline } = call
    if (deadline.signal.aborted) this.#expire(call)
    else if (events.length === 0) this.#removeFirst(call)
    else if (messages.length < events.length && !this.#encode(call)) return true
    else return this.#send(call)
    return true
  }

  /** Encodes a chunk. @returns true if all events of the call are encoded. */
  #encode(call: Call): boolean {
    const { events, messages, trace, outcome } = call
    try {
      for (const event of events.slice(messages.length, messages.length + CHUNK)) {
        messages.push(this.#parts.encode(event, trace))
      }
    } catch (thrown) {
      this.#removeFirst(call)
      outcome.reject(toError(thrown))
      return false
    }
    return messages.length === events.length
  }

  #send(call: Call): boolean {
    const { deadline, events } = call
    const first = call.sent
    const chunk = call.messages.slice(first, first + CHUNK)
    const bytes = chunk.reduce((sum, { body }) => sum + body.length, 0)
    const isFull = this.#sent + chunk.length > MAX_SENT || this.#sentBytes + bytes > MAX_SENT_BYTES
    if (this.#sent > 0 && isFull) {
      deadline.signal.addEventListener('abort', () => this.#run(), { once: true })
      return false
    }
    call.sent += chunk.length
    deadline.handedOver()
    this.#sent += chunk.length
    this.#sentBytes += bytes
    if (call.sent === events.length) this.#removeFirst(call)
    void this.#parts.send(chunk, deadline).then((failures) => {
      this.#sent -= chunk.length
      this.#sentBytes -= bytes
      if (failures.length < chunk.length) deadline.confirmed()
      for (const failure of failures) call.failures.push({ ...failure, index: first + failure.index })
      this.#settle(call, chunk.length)
      this.#run()
    })
    return true
  }

  /** Called when the deadline has passed before all events were passed to the transport. */
  #expire(call: Call): void {
    this.#removeFirst(call)
    const error = this.#parts.expired()
    for (let index = call.sent; index < call.events.length; index += 1) {
      call.failures.push({ index, status: 'notStored', error })
    }
    this.#settle(call, call.events.length - call.sent)
  }

  #settle(call: Call, count: number): void {
    call.pending -= count
    if (call.pending === 0) call.outcome.resolve(call.failures.sort((a, b) => a.index - b.index))
  }

  #removeFirst(call: Call): void {
    if (call.events.length === 0) call.outcome.resolve([])
    this.#head += 1
    if (this.#head < 1024 || this.#head * 2 < this.#calls.length) {
      if (this.#head < this.#calls.length) return
    }
    this.#calls = this.#calls.slice(this.#head)
    this.#head = 0
  }
}
