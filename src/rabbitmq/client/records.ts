import type { AmqpChannel, AmqpMessage } from './client.ts'

/**
 * Reads a small queue that serves as storage, one record per message.
 * @returns the records that are there at the start; those that are not acknowledged return to the queue when the channel
 * closes.
 */
export async function takeRecords(channel: AmqpChannel, queue: string): Promise<readonly AmqpMessage[]> {
  const records: AmqpMessage[] = []
  let left = 1
  do {
    const record = await channel.get(queue)
    if (record === false) break
    if (records.length === 0) left += record.fields.messageCount ?? 0
    records.push(record)
    left -= 1
  } while (left > 0)
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
