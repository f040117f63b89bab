import { settledWithin } from '../../kit/time.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { AmqpChannel } from './client.ts'
import type { WithChannel } from './connection.ts'

/** How long a queue may take to answer while the broker answers, in milliseconds. */
const SILENCE_MS = 2000

/**
 * Declares a classic queue, which may be on a cluster node that is down: the broker reports that it is not found or, since
 * RabbitMQ 4, does not answer until the node is back. A broker that answers nothing at all is waited for.
 * @returns undefined if the node is down.
 */
export async function unlessDown<T>(
  withChannel: WithChannel,
  work: (channel: AmqpChannel) => Promise<T>,
): Promise<T | undefined> {
  const answer = undefinedIfNotFound(withChannel(work))
  if (await settledWithin(answer, SILENCE_MS)) return answer
  await withChannel(async () => undefined)
  return (await settledWithin(answer, SILENCE_MS)) ? answer : undefined
}
