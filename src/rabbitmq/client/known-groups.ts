import { sleep } from '../../kit/time.ts'
import { isForbidden, isLocked, undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { AmqpChannel } from './client.ts'
import type { WithChannel } from './connection.ts'
import { readGroups } from './groups.ts'

/** Between two reads, in milliseconds: longer than a consumer that starts holds the records. */
const REREAD_MS = 25
/** Maximum number of attempts to be the only reader. */
const MAX_ATTEMPTS = 100
const NEVER = new AbortController().signal

/**
 * The groups that have consumed from the exchange. While one reader holds the records, others do not see them: without turns,
 * a list of dead letters would be empty while an operator's page reads the groups. So the readers of a connection share one
 * read, and those of several connections take turns.
 */
export class KnownGroups {
  readonly #options: ResolvedRabbitMQOptions
  readonly #withChannel: WithChannel
  #last: ReadonlySet<string> = new Set()
  #reading: Promise<unknown> = Promise.resolve()
  #next: Promise<ReadonlySet<string>> | undefined

  constructor(options: ResolvedRabbitMQOptions, withChannel: WithChannel) {
    this.#options = options
    this.#withChannel = withChannel
  }

  /** Concurrent callers share one read, which starts after their calls: each sees what it has done before. */
  read(): Promise<ReadonlySet<string>> {
    if (this.#next === undefined) {
      const next = this.#reading.then(() => {
        this.#next = undefined
        return this.#read()
      })
      this.#next = next
      this.#reading = next.catch(() => undefined)
    }
    return this.#next
  }

  /** If there are no records yet, nothing is declared. */
  async #read(): Promise<ReadonlySet<string>> {
    const { groupsQueue } = this.#options.names
    const records = await undefinedIfNotFound(this.#withChannel((channel) => channel.checkQueue(groupsQueue)))
    this.#last =
      records === undefined
        ? new Set()
        : await alone(this.#withChannel, `${groupsQueue}.reader`, () => this.#readAll())
    return this.#last
  }

  /** Reads twice, because a consumer that starts reads the records, too; once if no group is missing. */
  async #readAll(): Promise<ReadonlySet<string>> {
    const first = await this.#withChannel((channel) => readAndReturn(channel, this.#options))
    if (this.#last.size > 0 && [...this.#last].every((group) => first.has(group))) return first
    await sleep(REREAD_MS, NEVER)
    const second = await this.#withChannel((channel) => readAndReturn(channel, this.#options))
    return new Set([...first, ...second])
  }
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
  let refusal: 'locked' | 'forbidden' | undefined
  const declare = async (channel: AmqpChannel) => {
    try {
      await channel.assertQueue(lock, { durable: false, autoDelete: false, exclusive: true, arguments: {} })
    } catch (error) {
      if (isLocked(error)) refusal = 'locked'
      if (isForbidden(error)) refusal = 'forbidden'
      throw error
    }
  }
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    refusal = undefined
    try {
      return await withChannel(async (channel) => {
        await declare(channel)
        try {
          return await work()
        } finally {
          await channel.deleteQueue(lock)
        }
      })
    } catch (error) {
      if (refusal === undefined) throw error
      if (refusal === 'forbidden') break
    }
    await sleep(REREAD_MS * Math.random() * 2, NEVER)
  }
  return work()
}
