import { withoutSecrets } from '../../error-redaction.ts'
import { toError } from '../../errors.ts'
import { settledUntil, sleep } from '../../kit/time.ts'
import { PublishTimeoutError } from '../../transport/errors.ts'
import type { OutgoingMessage, PublishFailure } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { commandError, hadNoEffect, isReadOnly, isTransient } from '../errors.ts'
import { entryCommand } from '../wire/entry.ts'
import { partitionOfKey } from '../wire/partition.ts'
import { PublishOrder, type PublishTurn } from './publish-order.ts'

/** Wait before messages are sent again after a transient refusal, in milliseconds. */
const RETRY_DELAY_MS = 50

export interface RedisPublisherParts {
  readonly link: RedisLink
  /** The streams of events, by partition. */
  readonly streams: readonly [string, ...string[]]
  readonly address: string
  readonly publishTimeoutMs: number
}

/** Appends messages to the stream, and reports for each that failed whether it may be stored. */
export class RedisPublisher {
  readonly #parts: RedisPublisherParts
  readonly #order = new PublishOrder()

  constructor(parts: RedisPublisherParts) {
    this.#parts = parts
  }

  async publish(
    messages: readonly OutgoingMessage[],
    signal: AbortSignal,
  ): Promise<readonly PublishFailure[]> {
    const turn = this.#order.start(messages)
    try {
      return await this.#publishInOrder(messages, turn, signal)
    } finally {
      turn.end()
    }
  }

  async #publishInOrder(
    messages: readonly OutgoingMessage[],
    turn: PublishTurn,
    signal: AbortSignal,
  ): Promise<readonly PublishFailure[]> {
    let indices = messages.map((_message, index) => index)
    for (;;) {
      const client = await this.#clientFor(turn, signal)
      if (client === undefined) return indices.map((index) => this.#failure(index, 'notStored'))
      turn.sent()
      const failures = await this.#send(client, messages, indices, signal)
      const isRetryable = failures.length > 0 && failures.every(({ isTransient }) => isTransient)
      const refused = failures.filter(({ status }) => status === 'notStored').map(({ index }) => index)
      turn.answered(indices, new Set(refused), isRetryable)
      if (!isRetryable || !(await turn.canRepeat(refused, signal))) return failures
      // The refused messages can be sent again, in their order: all others are confirmed, and none is unknown.
      indices = refused
      if (failures.some(({ error }) => isReadOnly(error.cause)))
        this.#parts.link.reset(new Error('the server is now a replica'))
      if (!(await sleep(RETRY_DELAY_MS, signal))) return failures
    }
  }

  /** A connection, once no earlier call is to be sent again. @returns undefined if the deadline passes first. */
  async #clientFor(turn: PublishTurn, signal: AbortSignal): Promise<RedisClient | undefined> {
    const { link } = this.#parts
    for (;;) {
      if (turn.mustWait && !(await turn.whenNext(signal))) return undefined
      const client = link.client ?? (await link.whenReady(signal))
      // An earlier call may have been refused meanwhile.
      if (client === undefined || !turn.mustWait) return client
    }
  }

  async #send(
    client: RedisClient,
    messages: readonly OutgoingMessage[],
    indices: readonly number[],
    signal: AbortSignal,
  ): Promise<readonly (PublishFailure & { readonly isTransient: boolean })[]> {
    const { streams, address } = this.#parts
    const failures: (PublishFailure & { isTransient: boolean })[] = []
    const withoutReply = new Set(indices)
    const sent = indices.map((index) => {
      const message = messages[index]
      if (message === undefined) return Promise.resolve()
      const partition = partitionOfKey(message.key, streams.length)
      return client.sendCommand(entryCommand(streams[partition] ?? streams[0], message)).then(
        () => {
          withoutReply.delete(index)
        },
        (thrown: unknown) => {
          withoutReply.delete(index)
          const cause = toError(thrown)
          const status = hadNoEffect(cause) ? ('notStored' as const) : ('unknown' as const)
          const error = commandError(address, 'XADD', cause)
          error.cause = withoutSecrets(cause)
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
