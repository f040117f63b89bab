import { settledUntil } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import { commandError } from '../errors.ts'
import type { AmqpChannel, AmqpConnection } from './client.ts'
import { channelCloser } from './closing.ts'

export interface OwnChannelOptions {
  readonly address: string
  readonly connectTimeoutMs: number
  /** Aborts when the connection is lost. */
  readonly connectionLost: AbortSignal
  /** Sets no time limit. */
  readonly isLong?: boolean
}

/** Shortest time limit, in milliseconds: the work may be to read many dead letters, which takes long. */
const MIN_TIMEOUT_MS = 60_000

/**
 * Runs work on a channel of its own, because the broker closes a channel when it refuses a command.
 * @throws ConnectionError if the work fails, or the broker does not answer in time.
 */
export async function onOwnChannel<T>(
  connection: AmqpConnection,
  work: (channel: AmqpChannel) => Promise<T>,
  { address, connectTimeoutMs, connectionLost, isLong = false }: OwnChannelOptions,
): Promise<T> {
  const done = openAndRun(connection, work)
  // A frozen broker answers nothing.
  const timeout = AbortSignal.timeout(Math.max(connectTimeoutMs, MIN_TIMEOUT_MS))
  const isAnswered = await settledUntil(
    done.catch(() => undefined),
    isLong ? connectionLost : AbortSignal.any([connectionLost, timeout]),
  )
  if (!isAnswered) {
    throw new ConnectionError('CONNECTION_LOST', `RabbitMQ at ${address} did not answer.`)
  }
  return done.catch((error: unknown) => {
    throw commandError(address, error)
  })
}

async function openAndRun<T>(
  connection: AmqpConnection,
  work: (channel: AmqpChannel) => Promise<T>,
): Promise<T> {
  const channel = await connection.createConfirmChannel()
  const close = channelCloser(channel)
  // The failed command rejects with the same error.
  channel.on('error', () => undefined)
  try {
    return await work(channel)
  } finally {
    await close()
  }
}
