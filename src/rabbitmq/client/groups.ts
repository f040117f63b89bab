import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { AmqpChannel, AmqpMessage } from './client.ts'
import { publishNote, takeNotes } from './notes.ts'

type GroupOptions = Pick<ResolvedRabbitMQOptions, 'names' | 'durable' | 'consumerGroup'>

/**
 * Notes that a group has a dead letter queue, for those who look at the dead letters of all groups: AMQP cannot list
 * queues. Groups of eventsource-py are not noted, as nobody does it for them.
 */
export async function registerGroup(channel: AmqpChannel, options: GroupOptions): Promise<void> {
  const { known } = await readNotes(channel, options)
  if (!known.has(options.consumerGroup)) {
    await publishNote(channel, options.names.groupsQueue, options.consumerGroup)
  }
}

/** The groups that were noted. */
export async function readGroups(channel: AmqpChannel, options: GroupOptions): Promise<ReadonlySet<string>> {
  const { known, repeated } = await readNotes(channel, options)
  // Two that registered at the same time saw nothing of each other.
  for (const note of repeated) channel.ack(note)
  return known
}

async function readNotes(channel: AmqpChannel, { names, durable }: GroupOptions) {
  const { messageCount } = await channel.assertQueue(names.groupsQueue, {
    durable,
    autoDelete: false,
    arguments: {},
  })
  const known = new Set<string>()
  const repeated: AmqpMessage[] = []
  for (const note of await takeNotes(channel, names.groupsQueue, messageCount)) {
    const group = note.content.toString()
    if (known.has(group)) repeated.push(note)
    known.add(group)
  }
  return { known, repeated }
}
