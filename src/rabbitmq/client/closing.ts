import { settledUntil } from '../../kit/time.ts'
import type { AmqpChannel, AmqpConnection } from './client.ts'

/**
 * Returns a function that closes the channel. It resolves when the broker has answered, by which time it has read all that
 * was sent before. It also resolves when the channel closes otherwise: a connection that breaks leaves it unanswered.
 */
export function channelCloser(channel: AmqpChannel): () => Promise<void> {
  const closed = Promise.withResolvers<void>()
  channel.on('close', () => closed.resolve())
  // A close that fails finds the channel closed, which is the goal.
  return () => Promise.race([closed.promise, channel.close().catch(() => undefined)])
}

/** Closes a connection, and destroys its socket if the broker has not answered when the signal aborts. */
export async function closeConnection(connection: AmqpConnection, signal: AbortSignal): Promise<void> {
  const closed = Promise.withResolvers<void>()
  // A connection that breaks meanwhile leaves the close unanswered.
  connection.on('close', () => closed.resolve())
  // A close that fails finds the connection closing, which is the goal.
  await settledUntil(Promise.race([closed.promise, connection.close().catch(() => undefined)]), signal)
  destroySocket(connection)
}

/** Destroys the socket with an error, so that the client rejects what still waits for an answer on the connection. */
export function destroySocket(connection: AmqpConnection): void {
  connection.connection.stream.destroy(new Error('connection abandoned'))
}
