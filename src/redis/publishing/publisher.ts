import { toError } from '../../errors.ts'
import { settledUntil, sleep } from '../../kit/time.ts'
import { PublishTimeoutError } from '../../transport/errors.ts'
import type { OutgoingMessage, PublishFailure } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { commandError, hadNoEffect, isPassing, isReadOnly } from '../errors.ts'
import { entryCommand } from '../wire/entry.ts'

/** Wait before a message is sent again that the server could not take just now, in milliseconds. */
const TRY_AGAIN_MS = 50

export interface RedisPublisherParts {
  readonly link: RedisLink
  readonly stream: string
  readonly address: string
  readonly publishTimeoutMs: number
}

/** Appends messages to the stream and knows of each whether it is there. */
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
      if (!failures.every(({ isPassing }) => isPassing)) return failures
      if (failures.length === 0) return failures
      // All of them can go again, in their order: nothing that came after them was left in doubt.
      indices = failures.map(({ index }) => index)
      if (failures.some(({ error }) => isReadOnly(error.cause)))
        this.#parts.link.reset(new Error('it is a replica now'))
      if (!(await sleep(TRY_AGAIN_MS, signal))) return failures
    }
  }

  async #send(
    client: RedisClient,
    messages: readonly OutgoingMessage[],
    indices: readonly number[],
    signal: AbortSignal,
  ): Promise<readonly (PublishFailure & { readonly isPassing: boolean })[]> {
    const { stream, address } = this.#parts
    const failures: (PublishFailure & { isPassing: boolean })[] = []
    const unanswered = new Set(indices)
    const sent = indices.map((index) => {
      const message = messages[index]
      if (message === undefined) return Promise.resolve()
      return client.sendCommand(entryCommand(stream, message)).then(
        () => {
          unanswered.delete(index)
        },
        (thrown: unknown) => {
          unanswered.delete(index)
          const cause = toError(thrown)
          const status = hadNoEffect(cause) ? ('notStored' as const) : ('unknown' as const)
          const error = commandError(address, 'XADD', cause)
          error.cause = cause
          failures.push({ index, status, error, isPassing: isPassing(cause) })
        },
      )
    })
    const inTime = await settledUntil(Promise.all(sent), signal)
    if (inTime) return failures.sort((a, b) => a.index - b.index)
    const late = [...unanswered].map((index) => ({ ...this.#failure(index, 'unknown'), isPassing: false }))
    return [...failures, ...late].sort((a, b) => a.index - b.index)
  }

  #failure(index: number, status: PublishFailure['status']): PublishFailure {
    const { publishTimeoutMs, address } = this.#parts
    const detail =
      status === 'unknown'
        ? `Redis at ${address} did not answer`
        : `there is no connection to Redis at ${address}`
    const error = new PublishTimeoutError(publishTimeoutMs, detail)
    return { index, status, error }
  }
}
