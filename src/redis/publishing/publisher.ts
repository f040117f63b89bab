import { toError } from '../../errors.ts'
import { settledUntil, sleep } from '../../kit/time.ts'
import { PublishTimeoutError } from '../../transport/errors.ts'
import type { OutgoingMessage, PublishFailure } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { commandError, hadNoEffect, isReadOnly, isTransient } from '../errors.ts'
import { entryCommand } from '../wire/entry.ts'

/** Wait before messages are sent again after a transient refusal, in milliseconds. */
const RETRY_DELAY_MS = 50

export interface RedisPublisherParts {
  readonly link: RedisLink
  readonly stream: string
  readonly address: string
  readonly publishTimeoutMs: number
}

/** Appends messages to the stream, and reports for each that failed whether it may be stored. */
export class RedisPublisher {
  readonly #parts: RedisPublisherParts

  constructor(parts: RedisPublisherParts) {
    this.#parts = parts
  }

  async publish(
    messages: readonly OutgoingMessage[],
    signal: AbortSignal,
  ): Promise<readonly PublishFailure[]> {
    let indices = messages.map((_message, index) => index)
    for (;;) {
      const client = this.#parts.link.client ?? (await this.#parts.link.whenReady(signal))
      if (client === undefined) return indices.map((index) => this.#failure(index, 'notStored'))
      const failures = await this.#send(client, messages, indices, signal)
      const canRetry = failures.length > 0 && failures.every(({ isTransient }) => isTransient)
      if (!canRetry || wereOvertaken(messages, indices, failures)) return failures
      // The refused messages can be sent again, in their order: all others are confirmed, and none is unknown.
      indices = failures.map(({ index }) => index)
      if (failures.some(({ error }) => isReadOnly(error.cause)))
        this.#parts.link.reset(new Error('the server is now a replica'))
      if (!(await sleep(RETRY_DELAY_MS, signal))) return failures
    }
  }

  async #send(
    client: RedisClient,
    messages: readonly OutgoingMessage[],
    indices: readonly number[],
    signal: AbortSignal,
  ): Promise<readonly (PublishFailure & { readonly isTransient: boolean })[]> {
    const { stream, address } = this.#parts
    const failures: (PublishFailure & { isTransient: boolean })[] = []
    const withoutReply = new Set(indices)
    const sent = indices.map((index) => {
      const message = messages[index]
      if (message === undefined) return Promise.resolve()
      return client.sendCommand(entryCommand(stream, message)).then(
        () => {
          withoutReply.delete(index)
        },
        (thrown: unknown) => {
          withoutReply.delete(index)
          const cause = toError(thrown)
          const status = hadNoEffect(cause) ? ('notStored' as const) : ('unknown' as const)
          const error = commandError(address, 'XADD', cause)
          error.cause = cause
          failures.push({ index, status, error, isTransient: isTransient(cause) })
        },
      )
    })
    const inTime = await settledUntil(Promise.all(sent), signal)
    if (inTime) return failures.sort((a, b) => a.index - b.index)
    const late = [...withoutReply].map((index) => ({
      ...this.#failure(index, 'unknown'),
      isTransient: false,
    }))
    return [...failures, ...late].sort((a, b) => a.index - b.index)
  }

  #failure(index: number, status: PublishFailure['status']): PublishFailure {
    const { publishTimeoutMs, address } = this.#parts
    const detail =
      status === 'unknown'
        ? `Redis at ${address} did not reply`
        : `the bus is not connected to Redis at ${address}`
    const error = new PublishTimeoutError(publishTimeoutMs, detail)
    return { index, status, error }
  }
}

/**
 * True if the server stored a message after it had refused an earlier one of the same aggregate. The earlier one must not
 * be sent again: it would come after the later one.
 */
function wereOvertaken(
  messages: readonly OutgoingMessage[],
  sent: readonly number[],
  failures: readonly PublishFailure[],
): boolean {
  const refused = new Set(failures.map(({ index }) => index))
  const keys = new Set<string>()
  for (const index of sent) {
    const key = messages[index]?.key
    if (key === undefined || key === null) continue
    if (refused.has(index)) keys.add(key)
    else if (keys.has(key)) return true
  }
  return false
}
