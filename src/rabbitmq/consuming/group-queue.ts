import { Mutex } from '../../kit/mutex.ts'
import { settledWithin, sleep } from '../../kit/time.ts'
import type { BusNotice } from '../../transport/notices.ts'
import type { RabbitMQConnection, WithChannel } from '../client/connection.ts'
import { withDeclarationLock } from '../client/declaration-lock.ts'
import { registerGroup } from '../client/groups.ts'
import type { RabbitMQTopology } from '../client/topology.ts'
import { unlessDown } from '../client/unless-down.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { RabbitMQBindings } from './bindings.ts'

export interface GroupQueueParts {
  readonly options: ResolvedRabbitMQOptions
  readonly topology: RabbitMQTopology
  readonly bindings: RabbitMQBindings
  /** The consumer's connection. */
  readonly connection: RabbitMQConnection
  readonly notify: (notice: BusNotice) => void
  /** Uses the publisher's connection: during an alarm, publishing on the consumer's would block its acknowledgments. */
  readonly withPublisherChannel: WithChannel
}

/** How long the start of a consumer waits for its records to be written, in milliseconds. */
const RECORD_TIMEOUT_MS = 1000

/** How long the broker may take to remove a queue whose consumers it has cancelled, in milliseconds. */
const REMOVAL_MS = 1000
/** Time between two looks for a queue that is being removed, in milliseconds. */
const LOOK_MS = 50

/** What happened while the exchange distributed the events to the other queues. */
const MOVED =
  'Until now, the exchange has given events of all aggregates to other partitions, so events that were published in ' +
  'the meantime may be handled out of order'

/**
 * The group's queue on the broker, with its exchange, bindings and dead letter queue. Operations run one at a time: on
 * separate channels, a bind could overtake an unbind.
 */
export class RabbitMQGroupQueue {
  readonly #parts: GroupQueueParts
  readonly #mutex = new Mutex()
  #nextUpdate: Promise<void> | undefined
  #recorded: Promise<void> = Promise.resolve()
  /** Deleted queues whose loss is not reported yet: the connection can break after they were declared again. */
  readonly #lost = new Set<string>()

  constructor(parts: GroupQueueParts) {
    this.#parts = parts
  }

  /**
   * Declares all that consuming needs.
   * @param isKnown - true if this consumer has used the queue: its absence is then reported as a loss.
   */
  declare(isKnown: boolean): Promise<void> {
    const { connection, options } = this.#parts
    return this.#mutex.runExclusive(() => {
      if (!options.isPartitioned) return this.#declare(isKnown)
      // Without the lock, queues that another worker is about to declare would seem to be deleted.
      const withChannel: WithChannel = (work) => connection.withChannel(work)
      return withDeclarationLock(withChannel, options.names.lockQueue, () => this.#declare(isKnown))
    })
  }

  /**
   * Declares the queues after the broker has cancelled a consumer. RabbitMQ 4 does so shortly before it removes the record
   * of a quorum queue; the queue would not seem to be deleted.
   */
  async declareAgain(): Promise<void> {
    const deadline = performance.now() + REMOVAL_MS
    while (performance.now() < deadline && (await this.#missingQueues()).length === 0) await sleep(LOOK_MS)
    await this.declare(true)
  }

  /** Resolves when the records of the last declaration are written, or could not be written in time. */
  get recorded(): Promise<void> {
    return this.#recorded
  }

  /** Applies changed bindings to the queue. Without a connection, the next {@link declare} applies them. */
  updateBindings(): Promise<void> {
    // Calls share an update that has not started yet.
    this.#nextUpdate ??= this.#mutex.runExclusive(() => {
      this.#nextUpdate = undefined
      return this.#update()
    })
    return this.#nextUpdate
  }

  /**
   * Restores the exchanges and the bindings if they are gone: the broker does not notify a consumer of that.
   * @returns the queues of the group that are gone. Then nothing is restored; {@link declare} does it.
   */
  check(): Promise<readonly string[]> {
    const { connection, topology, bindings, notify } = this.#parts
    return this.#mutex.runExclusive(async () => {
      if (!connection.isOpen) return []
      const missing = await this.#missingQueues()
      if (missing.length > 0) return missing
      const gone: string[] = []
      for (const exchange of topology.exchanges) {
        if (await this.#isAbsent((channel) => channel.checkExchange(exchange))) gone.push(exchange)
      }
      await connection.withChannel(async (channel) => {
        if (gone.length > 0) await topology.declareForConsuming(channel)
        await bindings.repair(channel)
      })
      await this.#update()
      for (const exchange of gone) notify({ type: 'topologyRestored', what: `exchange ${exchange}` })
      return []
    })
  }

  async #update(): Promise<void> {
    const { connection, bindings, topology } = this.#parts
    if (!connection.isOpen || bindings.isCurrent) return
    const isOnlyConsumer = await connection.withChannel(async (channel) => {
      const isOnly = (await topology.countConsumers(channel)) <= 1
      await bindings.update(channel, isOnly)
      return isOnly
    })
    await this.#writeRecords(isOnlyConsumer)
  }

  async #declare(isKnown: boolean): Promise<void> {
    const { connection, topology, bindings, options } = this.#parts
    const missing = (await this.#mayHaveLost(isKnown)) ? await this.#missingQueues() : []
    const outOfOrder = firstGap(topology.queues, missing)
    // A worker that starts may find a group of which another one has declared only the first queues before it died.
    if (isKnown || outOfOrder !== undefined) for (const queue of missing) this.#lost.add(queue)
    const [otherConsumers] = await Promise.all([
      connection.withChannel(async (channel) => {
        const consumers = await topology.declareForConsuming(channel)
        if (outOfOrder !== undefined) await topology.restoreOrder(channel, outOfOrder)
        await bindings.start(channel)
        return consumers
      }),
      options.enableDlq ? this.#declareDeadLetters() : undefined,
    ])
    const write = () => this.#writeRecords(otherConsumers === 0)
    // Of a group with partitions, only one worker declares at a time. Others do not wait for the records before they consume.
    if (options.isPartitioned) await write()
    else this.#recorded = this.#mutex.runExclusive(write)
    for (const queue of this.#lost) {
      this.#lost.delete(queue)
      this.#reportLoss(queue)
    }
  }

  /** A worker that starts looks for lost queues only if the group has partitions, and was declared before. */
  async #mayHaveLost(isKnown: boolean): Promise<boolean> {
    const { isPartitioned, names } = this.#parts.options
    if (isKnown || !isPartitioned) return isKnown
    return !(await this.#isAbsent((channel) => channel.checkQueue(names.queue)))
  }

  async #missingQueues(): Promise<readonly string[]> {
    const { queues } = this.#parts.topology
    const isComplete = !(await this.#isAbsent((channel) =>
      Promise.all(queues.map((queue) => channel.checkQueue(queue))),
    ))
    if (isComplete) return []
    const missing: string[] = []
    for (const queue of queues) {
      if (await this.#isAbsent((channel) => channel.checkQueue(queue))) missing.push(queue)
    }
    return missing
  }

  #reportLoss(queue: string): void {
    const { notify, options } = this.#parts
    const detail = `the queue ${queue} was deleted, with the messages in it`
    notify({
      type: 'eventsLost',
      detail: options.isPartitioned ? `${detail}. ${MOVED}` : detail,
      count: undefined,
    })
    notify({ type: 'topologyRestored', what: `queue ${queue}` })
  }

  /**
   * In a cluster, the dead letter queue may be on a node that is down. Dead letters then wait for that node; consuming need
   * not.
   */
  async #declareDeadLetters(): Promise<void> {
    const { connection, topology } = this.#parts
    const withChannel: WithChannel = (work, limitMs) => connection.withChannel(work, limitMs)
    await unlessDown(withChannel, (channel) => topology.declareDeadLetters(channel))
  }

  async #isAbsent(lookup: Parameters<WithChannel>[0]): Promise<boolean> {
    return (await undefinedIfNotFound(this.#parts.connection.withChannel(lookup))) === undefined
  }

  /** Consuming does not depend on the records, so a broker that is slow to confirm them does not delay it for long. */
  async #writeRecords(isOnlyConsumer: boolean): Promise<void> {
    const { bindings, options, withPublisherChannel } = this.#parts
    const written = withPublisherChannel(async (channel) => {
      await bindings.record(channel, isOnlyConsumer)
      // The group of an instance that broadcasts ends with it.
      if (!options.broadcast) await registerGroup(channel, options)
    })
    await settledWithin(
      written.catch(() => undefined),
      RECORD_TIMEOUT_MS,
    )
  }
}

/** The first missing queue that has a present one behind it. Once it is recreated, the exchange has it behind all others. */
function firstGap(queues: readonly string[], missing: readonly string[]): string | undefined {
  const lastPresent = queues.findLastIndex((queue) => !missing.includes(queue))
  return queues.slice(0, lastPresent + 1).find((queue) => missing.includes(queue))
}
