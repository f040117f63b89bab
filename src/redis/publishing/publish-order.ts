import { settledUntil } from '../../kit/time.ts'
import type { OutgoingMessage } from '../../transport/transport.ts'

/** What the calls of one publisher share. */
interface Line {
  /** Calls whose outcome is not known yet, in the order of their start. */
  readonly calls: Set<PublishTurn>
  /** How many of them are to be sent again. */
  refused: number
  /** The call that was sent last. The server answers in the order of the commands. */
  last: PublishTurn | undefined
}

/**
 * Keeps the order of messages that the server refused and that are sent again: within a call, and between the calls of a
 * publisher. A refused call holds back all later ones, and is not sent again if a later message of one of its aggregates
 * may be stored.
 */
export class PublishOrder {
  readonly #line: Line = { calls: new Set(), refused: 0, last: undefined }

  start(messages: readonly OutgoingMessage[]): PublishTurn {
    const turn = new PublishTurn(messages, this.#line)
    this.#line.calls.add(turn)
    return turn
  }
}

/** The place of one call among the calls of a publisher. */
export class PublishTurn {
  readonly #messages: readonly OutgoingMessage[]
  readonly #line: Line
  /** Aggregates of which a later message than those refused may be stored; undefined while there are none. */
  #overtaken: Set<string> | undefined
  #isAnswered = true
  /** Undefined unless a call waits for the answer. */
  #answer: PromiseWithResolvers<void> | undefined
  /** Set while this call is to be sent again. */
  #repetition: PromiseWithResolvers<void> | undefined

  constructor(messages: readonly OutgoingMessage[], line: Line) {
    this.#messages = messages
    this.#line = line
  }

  /** True if an earlier call is to be sent again first. */
  get mustWait(): boolean {
    return this.#line.refused > 0 && this.#earlierRepetition() !== undefined
  }

  /** Waits until no earlier call is to be sent again. @returns false if the signal aborted first. */
  async whenNext(signal: AbortSignal): Promise<boolean> {
    for (
      let earlier = this.#earlierRepetition();
      earlier !== undefined;
      earlier = this.#earlierRepetition()
    ) {
      if (!(await settledUntil(earlier, signal))) return false
    }
    return true
  }

  /** Call it when messages of this call are sent. */
  sent(): void {
    this.#endRepetition()
    this.#isAnswered = false
    this.#line.last = this
  }

  /**
   * Call it when it is known which of the messages sent last the server refused.
   * @param willRepeat - true if the refused messages are to be sent again.
   */
  answered(sent: readonly number[], refused: ReadonlySet<number>, willRepeat: boolean): void {
    const [first] = this.#line.calls
    if (refused.size > 0 || first !== this) this.#noteOvertaking(sent, refused)
    if (willRepeat) {
      this.#repetition = Promise.withResolvers<void>()
      this.#line.refused += 1
    } else this.#line.calls.delete(this)
    this.#noteAnswer()
  }

  /**
   * Waits for the answers to all messages that were sent before this call was refused.
   * @returns true if the refused messages can be sent again without changing the order of an aggregate.
   */
  async canRepeat(refused: readonly number[], signal: AbortSignal): Promise<boolean> {
    const answer = this.#line.last?.whenAnswered
    if (answer !== undefined && !(await settledUntil(answer, signal))) return false
    return refused.every((index) => this.#overtaken?.has(this.#keyOf(index) ?? '') !== true)
  }

  /** Call it when the outcome of all messages is known. */
  end(): void {
    this.#endRepetition()
    this.#line.calls.delete(this)
    this.#noteAnswer()
  }

  /** Resolves with the answer to what was sent last; undefined if there is one. */
  get whenAnswered(): Promise<void> | undefined {
    if (this.#isAnswered) return undefined
    this.#answer ??= Promise.withResolvers<void>()
    return this.#answer.promise
  }

  #noteAnswer(): void {
    this.#isAnswered = true
    if (this.#line.last === this) this.#line.last = undefined
    this.#answer?.resolve()
    this.#answer = undefined
  }

  #overtake(key: string): void {
    this.#overtaken ??= new Set()
    this.#overtaken.add(key)
  }

  #noteOvertaking(sent: readonly number[], refused: ReadonlySet<number>): void {
    const waiting = new Set<string>()
    for (const index of sent) {
      const key = this.#keyOf(index)
      if (key === undefined) continue
      if (refused.has(index)) {
        waiting.add(key)
        continue
      }
      // The message is stored, or may be.
      if (waiting.has(key)) this.#overtake(key)
      for (const call of this.#line.calls) {
        if (call === this) break
        call.#overtake(key)
      }
    }
  }

  #earlierRepetition(): Promise<void> | undefined {
    for (const call of this.#line.calls) {
      if (call === this) return undefined
      if (call.#repetition !== undefined) return call.#repetition.promise
    }
    return undefined
  }

  #endRepetition(): void {
    if (this.#repetition === undefined) return
    this.#line.refused -= 1
    this.#repetition.resolve()
    this.#repetition = undefined
  }

  #keyOf(index: number): string | undefined {
    return this.#messages[index]?.key ?? undefined
  }
}
