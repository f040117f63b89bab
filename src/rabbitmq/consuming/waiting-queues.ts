import type { BusNotice } from '../../transport/notices.ts'
import { REPLAY_HANDLERS, waitHeader } from '../../transport/replay-headers.ts'
import type { Wait, WaitingStore } from '../../transport/waiting.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import type { RabbitMQNames } from '../client/names.ts'
import { copyOf } from '../dead-letters/dead-letter-message.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import type { AmqpOutgoing } from '../wire/message.ts'
import { addressOf } from './line-records.ts'
import { countInLines, linesQueues } from './lines-count.ts'
import { RabbitMQWaitingLines, type WaitingLinesParts } from './waiting-lines.ts'
import { waitingSince } from './waiting-since.ts'

/** How long a message stays in each of the queues, in milliseconds: 250 ms to 18 hours. */
const HOLDS_MS: readonly number[] = Array.from({ length: 10 }, (_, power) => 250 * 4 ** power)
const SHORTEST_MS = 250
/** When the wait of a message is over, in milliseconds since 1970. */
const DUE = 'x-waiting-due'
/** When the message leaves the queue it is in. */
const UNTIL = 'x-waiting-until'
/** Messages that are moved at the same time. */
const PAGE = 100

/** Maximum interval between two looks at the queues, in milliseconds: other processes store messages, too. */
const LOOK_MS = 4000
const NO_ORDER =
  "the consumers of a RabbitMQ queue share its messages, and cannot see which aggregates wait: set ordering to 'aggregate'"

export interface WaitingQueuesParts {
  readonly options: ResolvedRabbitMQOptions
  readonly publisher: RabbitMQPublisher
  readonly withChannel: WithChannel
  /** The ids of the places of all dead letters of the group. */
  readonly parkedPlaces: () => Promise<ReadonlySet<string>>
  readonly notify: (notice: BusNotice) => void
}

/** What a consumer says about itself. */
export type LinesConsumer = Pick<WaitingLinesParts, 'partition' | 'connection' | 'isActive'>

/**
 * Messages that wait for an attempt of one handler. AMQP cannot search a queue, so each of these queues holds every message
 * for the same time: its first message is the first to leave it. A message goes to the queue with the longest time that
 * does not exceed its wait, then to the next, and at last to the queue of the group. Each move is confirmed before the
 * message is acknowledged. The broker's own dead-lettering of expired messages would lose them if it crashed in between.
 */
export class RabbitMQWaitingQueues implements WaitingStore {
  readonly parkProblem: string | undefined
  readonly orderProblem: string | undefined
  onReady: (() => void) | undefined
  readonly #parts: WaitingQueuesParts
  /** The earliest start of a wait that this process knows of, in milliseconds since 1970. */
  #oldestSince = Number.POSITIVE_INFINITY
  /** Of the partitions that this process consumes, or stands by for. */
  readonly #lines = new Set<RabbitMQWaitingLines>()
  /** When a queue may have a message to move, by the monotonic clock. */
  #holdsAt = Number.NEGATIVE_INFINITY

  constructor(parts: WaitingQueuesParts) {
    this.#parts = parts
    this.orderProblem = parts.options.singleActiveConsumer ? undefined : NO_ORDER
    this.parkProblem = this.orderProblem
  }

  async prepare(): Promise<void> {
    await this.#parts.withChannel((channel) => this.#declare(channel))
  }

  async count(): Promise<number> {
    const counts = await this.#ifDeclared((channel) =>
      Promise.all(HOLDS_MS.map((holdMs) => channel.checkQueue(this.#queueOf(holdMs)))),
    )
    const held = counts?.reduce((sum, { messageCount }) => sum + messageCount, 0) ?? 0
    return held + (await countInLines(this.#linesQueues, this.#parts.withChannel))
  }

  /** The messages that wait in order for a consumer of the group, which closes them. Undefined if the group has no order. */
  linesFor(consumer: LinesConsumer): RabbitMQWaitingLines | undefined {
    if (this.orderProblem !== undefined) return undefined
    const lines = new RabbitMQWaitingLines({
      ...this.#parts,
      ...consumer,
      onReady: () => this.onReady?.(),
      onLettersGone: (count) => this.#lettersGone(count),
      onClosed: (closed) => this.#lines.delete(closed),
    })
    this.#lines.add(lines)
    this.onReady?.()
    return lines
  }

  #lettersGone(count: number): void {
    const { deadLetterQueue } = this.#parts.options.names
    const detail = `dead letters of ${deadLetterQueue} behind which later events waited were removed without the bus; those events follow now`
    this.#parts.notify({ type: 'eventsLost', detail, count })
  }

  /**
   * An upper bound of the time: this process knows the first message of each queue, from its last look, those that it has
   * stored since then, and the lines of the partitions that it consumes.
   */
  oldestSince(): Promise<Date | undefined> {
    const inLines = [...this.#lines].map((lines) => lines.oldestSince)
    const since = Math.min(this.#oldestSince, ...inLines)
    return Promise.resolve(since === Number.POSITIVE_INFINITY ? undefined : new Date(since))
  }

  /** Resolves when a copy of the message is stored. */
  async add(message: AmqpMessage, { delayMs, ...wait }: Wait): Promise<void> {
    const dueAt = Math.ceil(Date.now() + delayMs)
    const copy = copyOf(message, { [REPLAY_HANDLERS]: waitHeader(wait) })
    this.#holdsAt = Math.min(this.#holdsAt, performance.now() + delayMs)
    const outgoing = this.#held(copy, dueAt)
    try {
      await this.#parts.publisher.publishRaw(outgoing)
    } catch {
      // The queues may not exist yet, or were deleted. The caller handles a second failure.
      await this.prepare()
      await this.#parts.publisher.publishRaw(outgoing)
    }
    this.#oldestSince = Math.min(this.#oldestSince, wait.firstFailedAt.getTime())
  }

  async release(): Promise<number | undefined> {
    const [heldMs, ...linesMs] = await Promise.all([
      this.#releaseHeld(),
      ...[...this.#lines].map((lines) => lines.release()),
    ])
    const waits = [heldMs, ...linesMs].filter((ms) => ms !== undefined)
    return waits.length === 0 ? undefined : Math.min(...waits)
  }

  /** Looks at the queues only if a message may be due: a message that is handled in its line asks for each next one. */
  async #releaseHeld(): Promise<number | undefined> {
    const now = performance.now()
    if (now < this.#holdsAt) return this.#holdsAt - now
    this.#holdsAt = now + LOOK_MS
    try {
      const nextMs = await this.#releaseAll()
      this.#holdsAt = Math.min(this.#holdsAt, performance.now() + (nextMs ?? LOOK_MS))
      return nextMs
    } catch (error) {
      this.#holdsAt = now
      throw error
    }
  }

  async #releaseAll(): Promise<number | undefined> {
    const waits = await this.#ifDeclared(async (channel) => {
      const found: HeldMessage[] = []
      // A message may go to a queue with a shorter time, so those come last.
      for (const holdMs of HOLDS_MS.toReversed()) found.push(...(await this.#releaseFrom(channel, holdMs)))
      return found
    })
    const held = waits ?? []
    this.#oldestSince = Math.min(...held.map(({ since }) => since))
    return held.length === 0 ? undefined : Math.max(0, Math.min(...held.map(({ stayMs }) => stayMs)))
  }

  /**
   * Moves the messages that have stayed long enough.
   * @returns the next one, and those that were moved to another queue, or to the end of this one.
   */
  async #releaseFrom(channel: AmqpChannel, holdMs: number): Promise<readonly HeldMessage[]> {
    const held: HeldMessage[] = []
    for (;;) {
      const due: AmqpMessage[] = []
      let next: HeldMessage | undefined
      while (due.length < PAGE && next === undefined) {
        const message = await channel.get(this.#queueOf(holdMs))
        if (message === false) break
        const leftMs = timeOf(message, UNTIL) - Date.now()
        if (leftMs <= 0) due.push(message)
        else {
          channel.nack(message, false, true)
          next = { stayMs: leftMs, since: waitingSince(message) }
        }
      }
      const moved = await Promise.all(due.map((message) => this.#move(channel, message)))
      held.push(...moved.filter((one) => one !== undefined))
      if (due.length < PAGE) return next === undefined ? held : [...held, next]
    }
  }

  /** @returns undefined if the wait of the message is over. */
  async #move(channel: AmqpChannel, message: AmqpMessage): Promise<HeldMessage | undefined> {
    const dueAt = timeOf(message, DUE)
    const copy = copyOf(message, {})
    const leftMs = dueAt - Date.now()
    await this.#parts.publisher.publishRaw(leftMs > 0 ? this.#held(copy, dueAt) : this.#returned(copy))
    channel.ack(message)
    return leftMs > 0 ? { stayMs: holdFor(leftMs), since: waitingSince(message) } : undefined
  }

  #held({ content, properties }: Copy, dueAt: number): AmqpOutgoing {
    const holdMs = holdFor(dueAt - Date.now())
    const headers = { ...properties.headers, [DUE]: String(dueAt), [UNTIL]: String(Date.now() + holdMs) }
    return {
      exchange: '',
      routingKey: this.#queueOf(holdMs),
      content,
      properties: { ...properties, headers },
    }
  }

  #returned({ content, properties }: Copy): AmqpOutgoing {
    const { [DUE]: _due, [UNTIL]: _until, ...headers } = properties.headers ?? {}
    return { ...addressOf(this.#parts.options), content, properties: { ...properties, headers } }
  }

  /** Declares classic queues: a look at the first message counts as a delivery, which quorum queues limit. */
  async #declare(channel: AmqpChannel): Promise<void> {
    const { durable } = this.#parts.options
    const settings = { durable, autoDelete: false, arguments: { 'x-queue-type': 'classic' } }
    const held = HOLDS_MS.map((holdMs) => this.#queueOf(holdMs))
    await Promise.all([...held, ...this.#linesQueues].map((queue) => channel.assertQueue(queue, settings)))
  }

  /** @returns undefined if the queues do not exist: no message of the group has ever waited. */
  #ifDeclared<T>(work: (channel: AmqpChannel) => Promise<T>): Promise<T | undefined> {
    return undefinedIfNotFound(
      this.#parts.withChannel(async (channel) => {
        await channel.checkQueue(this.#queueOf(SHORTEST_MS))
        return work(channel)
      }),
    )
  }

  get #linesQueues(): readonly string[] {
    const { names, isPartitioned, partitions } = this.#parts.options
    return this.orderProblem === undefined
      ? linesQueues({ names, partitions: isPartitioned ? partitions : 0 })
      : []
  }

  #queueOf(holdMs: number): string {
    return waitingQueueOf(this.#parts.options.names, holdMs)
  }
}

/** The queues in which messages of a group may wait, shortest time first. */
export function waitingQueuesOf(names: Pick<RabbitMQNames, 'queue'>): readonly string[] {
  return HOLDS_MS.map((holdMs) => waitingQueueOf(names, holdMs))
}

function waitingQueueOf({ queue }: Pick<RabbitMQNames, 'queue'>, holdMs: number): string {
  return `${queue}.waiting.${holdMs}`
}

/** A message that a queue holds. */
interface HeldMessage {
  /** How long it stays in the queue, in milliseconds. */
  readonly stayMs: number
  /** Since when it waits, in milliseconds since 1970. */
  readonly since: number
}

type Copy = Pick<AmqpOutgoing, 'content' | 'properties'>

/** How long a message stays in its next queue. */
function holdFor(leftMs: number): number {
  return HOLDS_MS.findLast((candidate) => candidate <= leftMs) ?? SHORTEST_MS
}

/** A message without the header counts as due: it must not wait forever. */
function timeOf({ properties }: AmqpMessage, header: string): number {
  const time = Number(properties.headers?.[header] ?? 0)
  return Number.isSafeInteger(time) ? time : 0
}
