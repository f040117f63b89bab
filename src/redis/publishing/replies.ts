import { withoutSecrets } from '../../error-redaction.ts'
import type { PublishFailure } from '../../transport/transport.ts'
import { commandError, hadNoEffect, isTransient } from '../errors.ts'

/** The failure of a message that was sent. */
export interface SendFailure extends PublishFailure {
  /** True if the server may accept the message soon. */
  readonly isTransient: boolean
}

export function byIndex(a: SendFailure, b: SendFailure): number {
  return a.index - b.index
}

/** The failure of a message for which the command was refused, or had no reply. */
export function refusal(index: number, address: string, cause: Error): SendFailure {
  const error = commandError(address, 'XADD', cause)
  error.cause = withoutSecrets(cause)
  const status = hadNoEffect(cause) ? 'notStored' : 'unknown'
  return { index, status, error, isTransient: isTransient(cause) }
}

const NONE: readonly SendFailure[] = Object.freeze([])

/** The replies to the messages of one call. A burst has many calls of one message, so it creates few objects. */
export class Replies {
  readonly #indices: readonly number[]
  #left: number
  /** Messages with a reply, unless there is only one message. */
  readonly #replied: Set<number> | undefined
  #failures: SendFailure[] | undefined
  #onComplete: (() => void) | undefined

  constructor(indices: readonly number[]) {
    this.#indices = indices
    this.#left = indices.length
    this.#replied = indices.length > 1 ? new Set() : undefined
  }

  /** The failures among the replies, in the order of the messages. */
  get failures(): readonly SendFailure[] {
    return this.#failures?.sort(byIndex) ?? NONE
  }

  /** The messages without a reply. */
  get missing(): readonly number[] {
    return this.#left === 0 ? [] : this.#indices.filter((index) => this.#replied?.has(index) !== true)
  }

  add(index: number, failure?: SendFailure): void {
    this.#left -= 1
    this.#replied?.add(index)
    if (failure !== undefined) {
      this.#failures ??= []
      this.#failures.push(failure)
    }
    if (this.#left === 0) this.#onComplete?.()
  }

  /** Resolves when there is a reply to each message, or the signal aborts. */
  whenComplete(signal: AbortSignal): Promise<void> {
    if (this.#left === 0 || signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const end = () => {
        signal.removeEventListener('abort', end)
        resolve()
      }
      this.#onComplete = end
      signal.addEventListener('abort', end)
    })
  }
}
