import type { AmqpChannel, AmqpMessage } from './client.ts'

/**
 * Reads a small queue that serves as storage, one record per message.
 * @returns at most `count` records; those that are not acknowledged return to the queue when the channel closes.
 */
export async function takeRecords(
  channel: AmqpChannel,
  queue: string,
  count: number,
): Promise<readonly AmqpMessage[]> {
  const records: AmqpMessage[] = []
  for (let taken = 0; taken < count; taken += 1) {
    const record = await channel.get(queue)
    if (record === false) break
    records.push(record)
  }
  return records
}

/** Resolves when the broker has confirmed the record. */
export function publishRecord(channel: AmqpChannel, queue: string, text: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  channel.publish('', queue, Buffer.from(text), { deliveryMode: 2, mandatory: false }, (error) =>
    error === null ? resolve() : reject(error),
  )
  return promise
}
