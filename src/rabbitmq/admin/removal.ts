import type { WithChannel } from '../client/connection.ts'
import { namesOf, partitionQueueOf, seatQueueOf } from '../client/names.ts'
import { linesQueues } from '../consuming/lines-count.ts'
import { waitingQueuesOf } from '../consuming/waiting-queues.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'

/** Deletes all queues and exchanges of the bus and of these groups. The broker accepts names that do not exist. */
export async function removeQueuesAndExchanges(
  options: ResolvedRabbitMQOptions,
  withChannel: WithChannel,
  { groups, created }: { readonly groups: readonly string[]; readonly created: readonly string[] },
): Promise<void> {
  const { names: shared, partitions: count } = options
  const queues = [shared.groupsQueue, shared.presence, shared.journal, ...created]
  const exchanges = [shared.presence, shared.exchange, shared.deadLetterExchange]
  for (const group of groups) {
    const names = namesOf(options, group)
    const partitions = Array.from({ length: count }, (_, index) => index)
    queues.push(
      ...[names.queue, names.deadLetterQueue, names.bindingsQueue, names.lockQueue],
      ...[names.controlQueue, names.controlNotes, ...waitingQueuesOf(names)],
      ...[...linesQueues({ names, partitions: 0 }), ...linesQueues({ names, partitions: count })],
      ...partitions.flatMap((index) => [partitionQueueOf(names, index), seatQueueOf(names, index)]),
    )
    exchanges.push(names.typesExchange, names.partitionExchange)
  }
  await withChannel(async (channel) => {
    for (const queue of queues) await channel.deleteQueue(queue)
    for (const exchange of exchanges) await channel.deleteExchange(exchange)
  })
}
