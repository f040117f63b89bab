import { sleep } from '../../kit/time.ts'
import type { GroupControlStore } from '../../transport/control.ts'
import type { AmqpChannel, AmqpQueueOptions } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { namesOf, type RabbitMQNames } from '../client/names.ts'
import { publishRecord, takeRecords } from '../client/records.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'

const QUEUE: AmqpQueueOptions = {
  durable: true,
  autoDelete: false,
  arguments: { 'x-queue-type': 'classic' },
}
/** Between two attempts to read a note that another process is reading, in milliseconds. */
const REREAD_MS = 25
const MAX_ATTEMPTS = 40
const NEVER = new AbortController().signal
const NO_DELETION =
  'autoDelete deletes the queue of a paused group with its events, because the group has no consumer then'

/**
 * The texts of the groups, two queues for each. One has messages while there is a text. Nobody takes them, so that any
 * number of processes can ask at the same time; their number changes with the text. The other one keeps the text.
 */
export class RabbitMQGroupControl implements GroupControlStore {
  readonly staysInGroup = false
  readonly problem: string | undefined
  readonly #options: ResolvedRabbitMQOptions
  readonly #withChannel: WithChannel
  /** The text that belongs to a number of messages. */
  #known: { readonly count: number; readonly text: string } | undefined

  constructor(options: ResolvedRabbitMQOptions, withChannel: WithChannel) {
    this.#options = options
    this.#withChannel = withChannel
    this.problem = options.autoDelete ? NO_DELETION : undefined
  }

  /** Declares the queue: the broker would log an error each time a missing one is looked for. */
  async poll(): Promise<string | undefined> {
    const { names } = this.#options
    const { messageCount: count } = await this.#withChannel((channel) =>
      channel.assertQueue(names.controlQueue, QUEUE),
    )
    if (count === 0) {
      this.#known = undefined
      return undefined
    }
    if (this.#known?.count === count) return this.#known.text
    const text = await this.#note(names)
    if (text !== '') this.#known = { count, text }
    return text
  }

  async read(group: string): Promise<string | undefined> {
    const names = namesOf(this.#options, group)
    const state = await undefinedIfNotFound(
      this.#withChannel((channel) => channel.checkQueue(names.controlQueue)),
    )
    return state === undefined || state.messageCount === 0 ? undefined : this.#note(names)
  }

  async write(group: string, text: string | undefined): Promise<void> {
    const names = namesOf(this.#options, group)
    await this.#withChannel(async (channel) => {
      await channel.assertQueue(names.controlQueue, QUEUE)
      await channel.assertQueue(names.controlNotes, QUEUE)
      if (text === undefined) await channel.purgeQueue(names.controlQueue)
      await channel.purgeQueue(names.controlNotes)
      if (text === undefined) return
      await publishRecord(channel, names.controlNotes, JSON.stringify({ writtenAt: Date.now(), text }))
      await publishRecord(channel, names.controlQueue, '')
    })
  }

  /** @returns an empty text if others read it all the time. */
  async #note(names: RabbitMQNames): Promise<string> {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      const text = await undefinedIfNotFound(
        this.#withChannel((channel) => latestNote(channel, names.controlNotes)),
      )
      if (text !== undefined) return text
      await sleep(REREAD_MS * (0.5 + Math.random()), NEVER)
    }
    return ''
  }
}

/** A note that was being read while it was replaced returns to its queue. */
async function latestNote(channel: AmqpChannel, queue: string): Promise<string | undefined> {
  await channel.checkQueue(queue)
  const records = await takeRecords(channel, queue)
  await channel.recover()
  const notes = records.flatMap(({ content }) => parseNote(content)).sort((a, b) => b.writtenAt - a.writtenAt)
  return notes[0]?.text
}

/** Any client can write to the queue. */
function parseNote(content: Buffer): readonly { readonly writtenAt: number; readonly text: string }[] {
  try {
    const { writtenAt, text }: { writtenAt?: unknown; text?: unknown } = JSON.parse(content.toString()) ?? {}
    return typeof writtenAt === 'number' && typeof text === 'string' ? [{ writtenAt, text }] : []
  } catch {
    return []
  }
}
