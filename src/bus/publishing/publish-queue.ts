import { setImmediate as nextTurn } from 'node:timers'
import { toError } from '../../errors.ts'
import type { Cause } from '../../events/causation.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { OutgoingMessage, PublishFailure } from '../../transport/transport.ts'
import { PublishDeadline, PublishDeadlines, type WaitingPublishes } from './publish-deadlines.ts'
import { Call, type PublishRequest, Sending, type TraceHeaders, type Turn } from './publish-request.ts'

/** Maximum time for which a burst may block the event loop before other tasks run, in milliseconds. */
const SLICE_MS = 10
/**
 * Maximum weight of what the transport holds. Further events wait here and are not encoded yet. What the transport holds
 * survives each garbage collection, whose duration blocks the event loop.
 */
const MAX_SENT = 10_000
/** Weight of a call of few messages, which has objects of its own. Otherwise, each message weighs 1. */
const CALL_WEIGHT = 4
/** Maximum size of the bodies that the transport holds, in bytes, unless a single chunk is larger. */
const MAX_SENT_BYTES = 33_554_432
/** Maximum number of messages that are encoded, or passed to the transport, in one step. */
const CHUNK = 1000
/**
 * Maximum weight of what is passed to the transport in one turn of the event loop. The transport does most of its work after
 * that, in the same turn, so the time until then does not show how long the turn will take.
 */
const MAX_PER_TURN = 2000
/** Maximum number of calls that share a deadline. They are passed to the transport in one turn of the event loop. */
const CALLS_PER_DEADLINE = 50

export interface PublishQueueParts {
  readonly encode: (event: DomainEvent, trace: TraceHeaders, cause: Cause | undefined) => OutgoingMessage
  /** Hands messages to the transport. The signal aborts when their deadline passes. */
  readonly send: (
    messages: readonly OutgoingMessage[],
    signal: AbortSignal,
  ) => Promise<readonly PublishFailure[]>
  /** The error of an event that was not handed to the transport before its deadline. */
  readonly expired: () => Error
  /** The error of events for which the transport reported no outcome after their deadline. */
  readonly overdue: () => Error
  /** Length of the deadlines, in milliseconds. */
  readonly timeoutMs: number
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
  /** Weight of what was passed to the transport in this slice. */
  #sentInTurn = 0
  /** What is passed to the transport when the caller has continued. */
  #sendings: Sending[] = []
  /** The deadline of the calls that start in this turn, and their number. */
  #shared: PublishDeadline | undefined
  #sharing = 0

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
    this.#shared = undefined
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
      const chunk = events.length <= CHUNK ? events : events.slice(messages.length, messages.length + CHUNK)
      for (const event of chunk) messages.push(this.#parts.encode(event, trace, cause))
    } catch (thrown) {
      this.#removeFirst()
      request.refused(toError(thrown))
      return false
    }
    return call.isEncoded
  }

  #send(call: Call): boolean {
    const isWhole = call.sent === 0 && call.messages.length <= CHUNK
    const messages = isWhole ? call.messages : call.messages.slice(call.sent, call.sent + CHUNK)
    const weight = weightOf(messages)
    const bytes = bytesOf(messages)
    if (this.#sent > 0 && (this.#sent + weight > MAX_SENT || this.#sentBytes + bytes > MAX_SENT_BYTES)) {
      call.deadline?.onPassed(() => this.#run())
      return false
    }
    const deadline = call.deadline ?? this.#deadlineOf(call, isWhole)
    deadline.onPassed(undefined)
    const sending = new Sending({ call, messages, bytes, deadline }, this.#overdue)
    call.sent += messages.length
    this.#sentInTurn += weight
    this.#sent += weight
    this.#sentBytes += bytes
    deadline.handedOver(sending)
    if (call.sent === call.messages.length) this.#removeFirst()
    // The caller continues first, so that all publishes of its turn are passed to the transport in the same phase.
    if (this.#sendings.push(sending) === 1) queueMicrotask(this.#passOn)
    return true
  }

  /** A deadline for a call of which nothing was sent. */
  #deadlineOf(call: Call, isWhole: boolean): PublishDeadline {
    let deadline = this.#shared
    if (!isWhole || deadline === undefined || this.#sharing === CALLS_PER_DEADLINE) {
      deadline = new PublishDeadline(this.#deadlines)
      if (isWhole) {
        this.#shared = deadline
        this.#sharing = 0
      }
    }
    if (isWhole) this.#sharing += 1
    deadline.start()
    call.deadline = deadline
    return deadline
  }

  readonly #passOn = (): void => {
    const sendings = this.#sendings
    this.#sendings = []
    for (const sending of sendings) {
      this.#outcomeOf(sending).then(
        (failures) => this.#settle(sending, failures),
        (thrown: unknown) => this.#settle(sending, sending.failed('unknown', toError(thrown))),
      )
    }
  }

  #outcomeOf({ messages, deadline }: Sending): Promise<readonly PublishFailure[]> {
    try {
      return this.#parts.send(messages, deadline.signal)
    } catch (thrown) {
      return Promise.reject(thrown)
    }
  }

  #settle(sending: Sending, failures: readonly PublishFailure[]): void {
    if (sending.isSettled) return
    sending.isSettled = true
    const { call, messages, first, bytes, deadline } = sending
    this.#sent -= weightOf(messages)
    this.#sentBytes -= bytes
    if (failures.length < messages.length) deadline.confirmed()
    const ofCall =
      first === 0 ? failures : failures.map((failure) => ({ ...failure, index: first + failure.index }))
    call.settle(messages.length, ofCall)
    this.#run()
  }

  readonly #overdue = (sending: Sending): void => {
    this.#settle(sending, sending.failed('unknown', this.#parts.overdue()))
  }

  /** Called when the deadline has passed before all events were passed to the transport. */
  #expire(call: Call): void {
    this.#removeFirst()
    const { events } = call.request
    const error = this.#parts.expired()
    const failures: PublishFailure[] = []
    for (let index = call.sent; index < events.length; index += 1) {
      failures.push({ index, status: 'notStored', error })
    }
    call.settle(failures.length, failures)
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

function weightOf({ length }: readonly OutgoingMessage[]): number {
  return Math.max(length, CALL_WEIGHT)
}

function bytesOf(messages: readonly OutgoingMessage[]): number {
  let bytes = 0
  for (const { body } of messages) bytes += body.length
  return bytes
}
