import { settledUntil } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import { commandError } from '../errors.ts'
import type { AmqpChannel, AmqpConnection } from './client.ts'
import { channelCloser } from './closing.ts'

export interface OwnChannelOptions {
  readonly address: string
  /** Maximum duration of the work, in milliseconds. Infinity for work that limits each of its steps itself. */
  readonly limitMs: number
  /** Aborts when the connection is lost. */
  readonly connectionLost: AbortSignal
}

/**
 * Runs work on a channel of its own, because the broker closes a channel when it refuses a command.
 * @throws ConnectionError if the work fails, or the broker does not answer in time.
 */
export async function onOwnChannel<T>(
  connection: AmqpConnection,
  work: (channel: AmqpChannel) => Promise<T>,
  { address, limitMs, connectionLost }: OwnChannelOptions,
): Promise<T> {
  const done = openAndRun(connection, work)
  // A frozen broker answers nothing.
  const limits = limitMs === Number.POSITIVE_INFINITY ? [] : [AbortSignal.timeout(limitMs)]
  const isAnswered = await settledUntil(
    done.catch(() => undefined),
    AbortSignal.any([connectionLost, ...limits]),
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
