import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { AmqpChannel, AmqpMessage } from './client.ts'
import { publishRecord, takeRecords } from './records.ts'

type GroupOptions = Pick<ResolvedRabbitMQOptions, 'names' | 'durable' | 'consumerGroup'>

/**
 * Records that a group has consumed, so that a bus can list all groups and read their dead letters: AMQP cannot list
 * queues. A group that only eventsource-py consumes in is not recorded.
 */
export async function registerGroup(channel: AmqpChannel, options: GroupOptions): Promise<void> {
  const { groups } = await readRecords(channel, options)
  if (!groups.has(options.consumerGroup)) {
    await publishRecord(channel, options.names.groupsQueue, options.consumerGroup)
  }
}

/** The recorded groups. */
export async function readGroups(channel: AmqpChannel, options: GroupOptions): Promise<ReadonlySet<string>> {
  const { groups, repeated } = await readRecords(channel, options)
  // Two consumers that registered at the same time did not see each other's record.
  for (const record of repeated) channel.ack(record)
  return groups
}

/** Removes the records of a group. */
export async function unregisterGroup(
  channel: AmqpChannel,
  options: GroupOptions,
  group: string,
): Promise<void> {
  await channel.checkQueue(options.names.groupsQueue)
  const records = await takeRecords(channel, options.names.groupsQueue)
  for (const record of records) if (record.content.toString() === group) channel.ack(record)
  await channel.recover()
}

async function readRecords(channel: AmqpChannel, { names, durable }: GroupOptions) {
  await channel.assertQueue(names.groupsQueue, {
    durable,
    autoDelete: false,
    arguments: { 'x-queue-type': 'classic' },
  })
  const groups = new Set<string>()
  const repeated: AmqpMessage[] = []
  for (const record of await takeRecords(channel, names.groupsQueue)) {
    const group = record.content.toString()
    if (groups.has(group)) repeated.push(record)
    groups.add(group)
  }
  return { groups, repeated }
}
