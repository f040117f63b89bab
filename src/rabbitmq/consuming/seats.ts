import { toError } from '../../errors.ts'
import { sleep } from '../../kit/time.ts'
import type { AmqpChannel, AmqpConnection } from '../client/client.ts'
import { channelCloser } from '../client/closing.ts'
import { seatQueueOf } from '../client/names.ts'
import type { RabbitMQTopology } from '../client/topology.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { Seats } from './shares.ts'

/** The broker's text for a queue that has an exclusive consumer. */
const IN_USE = /in exclusive use/

/** Longest pause after two workers wanted the same seat, in milliseconds. */
const MAX_PAUSE_MS = 50

/**
 * The list of the workers of a partitioned group, as the broker knows it. There is a seat for each partition: a queue that
 * stays empty. A worker takes a seat as its exclusive consumer. The broker frees the seat when the worker's connection
 * ends, so the seats that have a consumer are those of the living workers. Nothing is published: the broker may block
 * publishing for as long as an alarm lasts.
 */
export class RabbitMQSeats {
  readonly #options: ResolvedRabbitMQOptions
  readonly #topology: RabbitMQTopology
  #connection: AmqpConnection | undefined
  /** Looks at the seats. */
  #channel: AmqpChannel | undefined
  #own: { readonly seat: number; readonly leave: () => Promise<void> } | undefined

  constructor(options: ResolvedRabbitMQOptions, topology: RabbitMQTopology) {
    this.#options = options
    this.#topology = topology
  }

  /** The seat of this worker; undefined if there are more workers than partitions. */
  get own(): number | undefined {
    return this.#own?.seat
  }

  /** Uses a new connection. */
  async open(connection: AmqpConnection): Promise<void> {
    this.close()
    const channel = await connection.createChannel()
    channel.on('error', () => undefined)
    this.#connection = connection
    this.#channel = channel
  }

  /** Forgets the connection. */
  close(): void {
    this.#connection = undefined
    this.#channel = undefined
    this.#own = undefined
  }

  /** Gives the seat up. */
  async leave(): Promise<void> {
    const own = this.#own
    this.#own = undefined
    this.#connection = undefined
    await own?.leave()
  }

  /** Takes a seat if this worker has none and one is free. @returns the seats that are taken. */
  async look(): Promise<Seats> {
    if (this.#channel === undefined) return []
    const taken = new Set(await this.#topology.takenSeats(this.#channel))
    // Its queue was deleted.
    if (this.#own !== undefined && !taken.has(this.#own.seat)) await this.#giveUp(this.#own)
    for (let seat = 0; seat < this.#options.partitions && this.#own === undefined; seat += 1) {
      if (!taken.has(seat)) await this.#take(seat)
      taken.add(seat)
    }
    return [...taken].toSorted((a, b) => a - b)
  }

  async #giveUp(own: { readonly leave: () => Promise<void> }): Promise<void> {
    this.#own = undefined
    await own.leave()
  }

  /** Leaves the seat to another worker if that was faster. */
  async #take(seat: number): Promise<void> {
    const connection = this.#connection
    if (connection === undefined) return
    const channel = await connection.createChannel()
    channel.on('error', () => undefined)
    const leave = channelCloser(channel)
    const isTaken = await this.#consume(channel, seatQueueOf(this.#options.names, seat))
    if (isTaken && this.#connection === connection) this.#own = { seat, leave }
    else await leave()
  }

  /** @returns false if another worker may have the seat. @throws the broker's error, for example for a missing right. */
  async #consume(channel: AmqpChannel, queue: string): Promise<boolean> {
    try {
      await channel.consume(queue, () => undefined, { exclusive: true })
    } catch (error) {
      if (IN_USE.test(toError(error).message)) return false
      throw error
    }
    if (this.#options.queueType === 'classic') return true
    // A quorum queue accepts several exclusive consumers. Two of them may both see the other, and both leave.
    if ((await channel.checkQueue(queue)).consumerCount === 1) return true
    await sleep(Math.random() * MAX_PAUSE_MS)
    return false
  }
}
