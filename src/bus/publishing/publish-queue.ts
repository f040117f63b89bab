import { setImmediate as nextTurn } from 'node:timers'
import { toError } from '../../errors.ts'
import type { Cause } from '../../events/causation.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { OutgoingMessage, PublishFailure } from '../../transport/transport.ts'
import { PublishDeadline, PublishDeadlines, type WaitingPublishes } from './publish-deadlines.ts'

/** Maximum time for which a burst may block the event loop before other tasks run, in milliseconds. */
const SLICE_MS = 10
/** Maximum number of messages that the transport holds. Further events wait here and are not encoded yet. */
const MAX_SENT = 10_000
/** Maximum size of the bodies that the transport holds, in bytes, unless a single chunk is larger. */
const MAX_SENT_BYTES = 33_554_432
/** Maximum number of messages that are encoded, or passed to the transport, in one step. */
const CHUNK = 1000
/**
 * Maximum number of messages that are passed to the transport in one turn of the event loop, each by a call of its own.
 * The transport does most of its work after that, in the same turn, so the time until then does not show how long the
 * turn will take.
 */
const MAX_PER_TURN = 500
/** Messages of one call are passed on together, so that many count as one: small batches would make the broker slower. */
const MESSAGES_LIKE_ONE_CALL = 4

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
  /** Length of the deadlines, in milliseconds. */
  readonly timeoutMs: number
}

/** One turn of the event loop, as far as publishes start in it. */
interface Turn {
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
class Call {
  readonly request: PublishRequest
  readonly messages: OutgoingMessage[] = []
  readonly failures: PublishFailure[] = []
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
  settle(count: number): void {
    this.#pending -= count
    if (this.#pending > 0) return
    this.deadline?.end()
    this.request.settled(this.failures.sort((a, b) => a.index - b.index))
  }
}

/**
 * Encodes the events of publishes and hands them to the transport, in the order of the requests. It works in slices, and
 * pauses while the transport holds the maximum, so that a burst neither blocks the event loop nor fills the memory.
 */
export class PublishQueue implements WaitingPublishes {
  readonly #parts: PublishQueueParts
  readonly #deadlines: PublishDeadlines
  #requests: PublishRequest[] = []
  /** Requests before this index were passed to the transport, or have ended. */
  #head = 0
  /** The call of the first request, once it has started. */
  #first: Call | undefined
  #sent = 0
  #sentBytes = 0
  #isRunning = false
  /** The current turn of the event loop; undefined if nothing was done in it. All its work is one slice. */
  #turn: Turn | undefined
  /** True until the slice has made a step. */
  #isFresh = true
  /** True once this turn of the event loop has done its part. Further requests then cost as little as possible. */
  #isSliceOver = false
  /** What was passed to the transport in this slice, in messages with a call of their own. */
  #sentInTurn = 0

  constructor(parts: PublishQueueParts) {
    this.#parts = parts
    this.#deadlines = new PublishDeadlines(parts.timeoutMs, this)
  }

  publish(request: PublishRequest): void {
    this.#turn ??= this.#startTurn()
    request.turn = this.#turn
    this.#requests.push(request)
    if (!this.#isSliceOver) this.#run()
  }

  /** Moves all deadlines forward to now, also those of later requests. */
  giveUp(): void {
    this.#deadlines.expireAll()
  }

  get waitingSince(): number | undefined {
    if (this.#first?.deadline !== undefined) return undefined
    return this.#requests[this.#head]?.turn?.endedAt
  }

  expire(): void {
    this.#run()
  }

  #run(): void {
    if (this.#isRunning) return
    this.#isRunning = true
    this.#turn ??= this.#startTurn()
    const { startedAt } = this.#turn
    for (
      let request = this.#requests[this.#head];
      request !== undefined && this.#hasTime(startedAt);
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

  #startTurn(): Turn {
    const turn = { startedAt: performance.now(), endedAt: Number.POSITIVE_INFINITY }
    nextTurn(this.#endTurn, turn)
    this.#isFresh = true
    this.#sentInTurn = 0
    return turn
  }

  readonly #endTurn = (turn: Turn): void => {
    turn.endedAt = performance.now()
    this.#turn = undefined
    const hasMore = this.#isSliceOver
    this.#isSliceOver = false
    if (this.#head === this.#requests.length) return
    this.#deadlines.watch()
    // Otherwise, the transport holds the maximum.
    if (hasMore) this.#run()
  }

  /** Makes the next step for the first call. @returns false if there is no room for it. */
  #step(call: Call): boolean {
    if (this.#isOver(call)) this.#expire(call)
    else if (call.isEncoded || this.#encode(call)) return this.#send(call)
    return true
  }

  #isOver({ deadline, request }: Call): boolean {
    if (deadline !== undefined) return deadline.hasPassed
    return request.turn !== undefined && this.#deadlines.isOver(request.turn.endedAt)
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
    const first = call.sent
    const chunk = call.messages.slice(first, first + CHUNK)
    const bytes = chunk.reduce((sum, { body }) => sum + body.length, 0)
    const isFull = this.#sent + chunk.length > MAX_SENT || this.#sentBytes + bytes > MAX_SENT_BYTES
    if (this.#sent > 0 && isFull) {
      call.deadline?.onPassed(() => this.#run())
      return false
    }
    call.deadline ??= new PublishDeadline(this.#deadlines)
    const { deadline } = call
    deadline.onPassed(undefined)
    call.sent += chunk.length
    this.#sentInTurn += Math.ceil(chunk.length / MESSAGES_LIKE_ONE_CALL)
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
