import { settledWithin } from '../../kit/time.ts'
import type { AmqpChannel, AmqpQueueState } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { linesQueueOf, type RabbitMQNames } from '../client/names.ts'
import { undefinedIfNotFound } from '../errors.ts'
import { requestTo } from './line-queue.ts'

/** The address at which the broker delivers answers to a channel, without a queue. */
const REPLY_TO = 'amq.rabbitmq.reply-to'
/** Longest wait for the answers, in milliseconds. */
const ANSWER_MS = 2000

/** The queues in which messages of a group wait in order. @param partitions - 0 if the group has none. */
export function linesQueues({
  names,
  partitions,
}: {
  readonly names: Pick<RabbitMQNames, 'queue'>
  readonly partitions: number
}): readonly string[] {
  if (partitions === 0) return [linesQueueOf(names, undefined)]
  return Array.from({ length: partitions }, (_, partition) => linesQueueOf(names, partition))
}

/**
 * Number of messages that wait in order. The broker counts no message that a consumer holds, so the consumer of each queue
 * is asked. Where there is none, the broker's count is an upper bound.
 */
export async function countInLines(queues: readonly string[], withChannel: WithChannel): Promise<number> {
  if (queues.length === 0) return 0
  const counts = await undefinedIfNotFound(
    withChannel(async (channel) => {
      const states = await Promise.all(queues.map((queue) => channel.checkQueue(queue)))
      return ask(channel, new Map(states.map((state, index) => [queues[index] ?? '', state])))
    }),
  )
  return counts ?? 0
}

async function ask(channel: AmqpChannel, states: ReadonlyMap<string, AmqpQueueState>): Promise<number> {
  const counts = new Map([...states].map(([queue, { messageCount }]) => [queue, messageCount]))
  const asked = new Set([...states].flatMap(([queue, { consumerCount }]) => (consumerCount > 0 ? queue : [])))
  const answered = Promise.withResolvers<void>()
  if (asked.size > 0) {
    const onAnswer = (queue: string, count: number) => {
      counts.set(queue, count)
      asked.delete(queue)
      if (asked.size === 0) answered.resolve()
    }
    await channel.consume(
      REPLY_TO,
      (message) =>
        message && onAnswer(message.properties.correlationId ?? '', Number(message.content.toString())),
      { noAck: true },
    )
    for (const queue of asked) {
      const { content, properties } = requestTo(queue, 'count', { replyTo: REPLY_TO, correlationId: queue })
      channel.publish('', queue, content, { ...properties, mandatory: false })
    }
    await settledWithin(answered.promise, ANSWER_MS)
  }
  return [...counts.values()].reduce((sum, count) => sum + count, 0)
}
