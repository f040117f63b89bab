import {
  type EventPlace,
  type GroupInfo,
  type GroupPartition,
  type MessageScan,
  type ScanRequest,
  type SeekOutcome,
  sumIfKnown,
  type TransportAdmin,
} from '../../transport/admin.ts'
import { HistoryUnavailableError } from '../../transport/errors.ts'
import { type GroupProgress, progressOf } from '../../transport/group-progress.ts'
import type { AmqpQueueState } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { unregisterGroup } from '../client/groups.ts'
import { namesOf, partitionQueueOf, type RabbitMQNames, seatQueueOf } from '../client/names.ts'
import { countInLines, linesQueues } from '../consuming/lines-count.ts'
import { waitingQueuesOf } from '../consuming/waiting-queues.ts'
import type { RabbitMQDeadLetters } from '../dead-letters/dead-letters.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import { RabbitMQJournal } from './journal.ts'
import { RabbitMQLiveQueue } from './live-queue.ts'

export interface RabbitMQAdminParts {
  readonly options: ResolvedRabbitMQOptions
  readonly withChannel: WithChannel
  /** Without a time limit. */
  readonly withLongChannel: WithChannel
  readonly deadLetters: RabbitMQDeadLetters
}

/** What the queues of a group hold. */
interface GroupQueues {
  readonly names: RabbitMQNames
  /** Undefined if the group has no queue: it was deleted, and has left dead letters. */
  readonly queue: AmqpQueueState | undefined
  /** Empty if the group has no partitions. */
  readonly partitions: readonly AmqpQueueState[]
  readonly members: number
}

/** What an operator can ask RabbitMQ. AMQP reports how many messages are ready, and not how many consumers hold. */
export class RabbitMQAdmin implements TransportAdmin {
  readonly #parts: RabbitMQAdminParts
  #reading: Promise<readonly GroupInfo[]> | undefined

  constructor(parts: RabbitMQAdminParts) {
    this.#parts = parts
  }

  /** Concurrent callers share one answer. */
  groups(): Promise<readonly GroupInfo[]> {
    this.#reading ??= this.#groups().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #groups(): Promise<readonly GroupInfo[]> {
    const { options, deadLetters } = this.#parts
    const known = await deadLetters.knownGroups.read()
    const names = [...new Set([...known, ...(options.broadcast ? [] : [options.consumerGroup])])].toSorted()
    const groups = await Promise.all(names.map((name) => this.#describe(name)))
    return groups.filter((group) => group !== undefined)
  }

  /** A queue cannot be searched: a look at a message is a delivery, which changes it. */
  async progress(_place: EventPlace): Promise<readonly GroupProgress[]> {
    return (await this.groups()).map(({ name, lag, retriesWaiting }) =>
      progressOf(name, 'unknown', {
        remark: `RabbitMQ does not report which events a queue holds; ${lag ?? 'unknown'} wait, and ${retriesWaiting} for a retry`,
      }),
    )
  }

  async scan(request: ScanRequest): Promise<MessageScan> {
    const { options, withChannel } = this.#parts
    if (options.journal) return new RabbitMQJournal(options, withChannel).open(request)
    throw new HistoryUnavailableError(
      `RabbitMQ keeps no event of ${options.names.exchange} after its groups have consumed it; set the option journal in ` +
        'every bus of the exchange to keep the events that are published from then on.',
    )
  }

  seek(): Promise<SeekOutcome> {
    const { exchange } = this.#parts.options.names
    return Promise.reject(
      new HistoryUnavailableError(
        `RabbitMQ cannot move a group of ${exchange}, because a queue forgets what the group has consumed; publish events ` +
          'of the journal again, or replay dead letters.',
      ),
    )
  }

  follow(_aggregateId: string | undefined, signal: AbortSignal): Promise<MessageScan> {
    const { options, withLongChannel } = this.#parts
    return new RabbitMQLiveQueue(options, withLongChannel).follow(signal)
  }

  async deleteGroup(group: string): Promise<boolean> {
    const { options, withChannel } = this.#parts
    const { names, members, partitions } = await this.#queuesOf(group)
    if (members > 0) return false
    const consumed = [names.queue, ...partitions.map((_, index) => partitionQueueOf(names, index))]
    for (const queue of consumed) if (!(await this.#deleteUnused(queue))) return false
    const seats = partitions.map((_, seat) => seatQueueOf(names, seat))
    const lines = linesQueues({ names, partitions: partitions.length })
    await withChannel(async (channel) => {
      const control = [names.controlQueue, names.controlNotes]
      const kept = [...seats, ...waitingQueuesOf(names), ...lines, names.bindingsQueue, ...control]
      for (const queue of kept) {
        await channel.deleteQueue(queue)
      }
      for (const exchange of [names.partitionExchange, names.typesExchange]) {
        await channel.deleteExchange(exchange)
      }
    })
    // The record is needed to read its dead letters.
    if ((await this.#parts.deadLetters.count(group)) > 0) return true
    await withChannel((channel) => channel.deleteQueue(names.deadLetterQueue))
    await undefinedIfNotFound(withChannel((channel) => unregisterGroup(channel, options, group)))
    return true
  }

  /** A quorum queue cannot be deleted on the condition that it is unused: the broker would close the connection. */
  async #deleteUnused(queue: string): Promise<boolean> {
    const state = await this.#look(queue)
    if (state === undefined) return true
    if (state.consumerCount > 0) return false
    await this.#parts.withChannel((channel) => channel.deleteQueue(queue))
    return true
  }

  async #describe(name: string): Promise<GroupInfo | undefined> {
    const { names, queue, partitions, members } = await this.#queuesOf(name)
    const deadLetters = await this.#parts.deadLetters.count(name)
    if (queue === undefined && deadLetters === 0) return undefined
    const waiting = queue === undefined ? [] : await this.#waiting(names)
    const inLines = queue === undefined ? 0 : await this.#inLines(names, partitions.length)
    const queues = queue === undefined ? [] : [queue, ...partitions]
    return {
      name,
      members,
      lag: sumIfKnown(queues.map(({ messageCount }) => messageCount)),
      ...UNREPORTED,
      retriesWaiting: inLines + (sumIfKnown(waiting.map(({ messageCount }) => messageCount)) ?? 0),
      deadLetters,
      partitions: partitions.map(partitionOf),
    }
  }

  async #queuesOf(group: string): Promise<GroupQueues> {
    const names = namesOf(this.#parts.options, group)
    const queue = await this.#look(names.queue)
    const exchange =
      queue &&
      (await undefinedIfNotFound(this.#parts.withChannel((it) => it.checkExchange(names.partitionExchange))))
    if (exchange === undefined) return { names, queue, partitions: [], members: queue?.consumerCount ?? 0 }
    const partitions = await this.#lookWhilePresent((index) => partitionQueueOf(names, index))
    // A worker consumes several partitions, or stands by for them. It takes one seat.
    const seats = await Promise.all(partitions.map((_, seat) => this.#look(seatQueueOf(names, seat))))
    const members = seats.filter((seat) => (seat?.consumerCount ?? 0) > 0).length
    return { names, queue, partitions, members }
  }

  async #waiting(names: RabbitMQNames): Promise<readonly AmqpQueueState[]> {
    const states = await Promise.all(waitingQueuesOf(names).map((queue) => this.#look(queue)))
    return states.filter((state) => state !== undefined)
  }

  /** Messages that wait in order, if the group keeps it. */
  #inLines(names: RabbitMQNames, partitions: number): Promise<number> {
    return countInLines(linesQueues({ names, partitions }), this.#parts.withChannel)
  }

  async #lookWhilePresent(queueOf: (index: number) => string): Promise<readonly AmqpQueueState[]> {
    const found: AmqpQueueState[] = []
    for (;;) {
      const state = await this.#look(queueOf(found.length))
      if (state === undefined) return found
      found.push(state)
    }
  }

  #look(queue: string): Promise<AmqpQueueState | undefined> {
    return undefinedIfNotFound(this.#parts.withChannel((channel) => channel.checkQueue(queue)))
  }
}

const UNREPORTED = { inFlight: undefined, oldestUnsettledAt: undefined } as const

function partitionOf({ messageCount }: AmqpQueueState, partition: number): GroupPartition {
  return { partition, consumer: undefined, lag: messageCount, ...UNREPORTED }
}
