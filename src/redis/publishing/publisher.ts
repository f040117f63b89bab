import { toError } from '../../errors.ts'
import { sleep } from '../../kit/time.ts'
import { PublishTimeoutError } from '../../transport/errors.ts'
import type { OutgoingMessage, PublishFailure } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { isReadOnly } from '../errors.ts'
import { entryCommand } from '../wire/entry.ts'
import { partitionOfKey } from '../wire/partition.ts'
import { PublishOrder, type PublishTurn } from './publish-order.ts'
import { byIndex, Replies, refusal, type SendFailure } from './replies.ts'

/** Wait before messages are sent again after a transient refusal, in milliseconds. */
const RETRY_DELAY_MS = 50

const NONE: ReadonlySet<number> = new Set()

const FIRST: readonly number[] = Object.freeze([0])

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
    let indices: readonly number[] = messages.length === 1 ? FIRST : messages.map((_message, index) => index)
    for (;;) {
      const client = await this.#clientFor(turn, signal)
      if (client === undefined) return indices.map((index) => this.#failure(index, 'notStored'))
      turn.sent()
      const failures = await this.#send(client, messages, indices, signal)
      if (failures.length === 0) {
        turn.answered(indices, NONE, false)
        return failures
      }
      const isRetryable = failures.every(({ isTransient }) => isTransient)
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
  ): Promise<readonly SendFailure[]> {
    const { streams, address } = this.#parts
    const replies = new Replies(indices)
    for (const index of indices) {
      const message = messages[index]
      if (message === undefined) {
        replies.add(index)
        continue
      }
      const partition = partitionOfKey(message.key, streams.length)
      client.sendCommand(entryCommand(streams[partition] ?? streams[0], message)).then(
        () => replies.add(index),
        (thrown: unknown) => replies.add(index, refusal(index, address, toError(thrown))),
      )
    }
    await replies.whenComplete(signal)
    const late = replies.missing.map((index) => ({ ...this.#failure(index, 'unknown'), isTransient: false }))
    return late.length === 0 ? replies.failures : [...replies.failures, ...late].sort(byIndex)
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
