import { sleep } from '../../kit/time.ts'
import type { AmqpChannel } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { readGroups } from '../client/groups.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'

/** Between two reads, in milliseconds: longer than a consumer that starts holds the records. */
const REREAD_MS = 25
/** Maximum number of attempts to be the only reader. */
const MAX_ATTEMPTS = 100
const NEVER = new AbortController().signal

/**
 * The groups that have consumed from the exchange. While a process reads the records, others do not see them. So only one
 * operator reads at a time, and reads twice, because a consumer that starts reads them too. If there are no records yet,
 * nothing is declared.
 */
export async function knownGroups(
  withChannel: WithChannel,
  options: ResolvedRabbitMQOptions,
): Promise<ReadonlySet<string>> {
  const { groupsQueue } = options.names
  const records = await undefinedIfNotFound(withChannel((channel) => channel.checkQueue(groupsQueue)))
  if (records === undefined) return new Set()
  return alone(withChannel, `${groupsQueue}.reader`, async () => {
    const known = new Set<string>()
    for (let read = 0; read < 2; read += 1) {
      if (read > 0) await sleep(REREAD_MS, NEVER)
      for (const group of await withChannel((channel) => readAndReturn(channel, options))) known.add(group)
    }
    return known
  })
}

async function readAndReturn(
  channel: AmqpChannel,
  options: ResolvedRabbitMQOptions,
): Promise<ReadonlySet<string>> {
  const found = await readGroups(channel, options)
  // Closing the channel returns the records too, but later.
  await channel.recover()
  return found
}

/** Runs work while this connection holds an exclusive queue, which no other connection can declare. */
async function alone<T>(withChannel: WithChannel, lock: string, work: () => Promise<T>): Promise<T> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    try {
      return await withChannel(async (channel) => {
        await channel.assertQueue(lock, { durable: false, autoDelete: false, exclusive: true, arguments: {} })
        try {
          return await work()
        } finally {
          await channel.deleteQueue(lock)
        }
      })
    } catch (error) {
      if (!/RESOURCE.LOCKED/.test(String(error))) throw error
    }
    await sleep(REREAD_MS * Math.random() * 2, NEVER)
  }
  return work()
}
