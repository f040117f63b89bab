import { toError } from '../../errors.ts'
import { MessageRefusedError, PublishTimeoutError } from '../../transport/errors.ts'
import type { OutgoingMessage, PublishFailure } from '../../transport/transport.ts'
import type { AmqpChannel, AmqpConnection } from '../client/client.ts'
import { channelCloser } from '../client/closing.ts'
import type { ChannelOwner } from '../client/connection.ts'
import type { RabbitMQTopology } from '../client/topology.ts'
import { commandError, lostError, UnroutableError } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import { type AmqpOutgoing, toAmqp } from '../wire/message.ts'
import { type MessageFailure, PublishCall } from './publish-call.ts'
import { ReturnedMessages } from './returned-messages.ts'

/** Notified of what happens to published messages and their channel. */
export interface PublisherObserver {
  confirmed(): void
  /** No queue was bound for an event. */
  returned(routingKey: string): void
  /** The channel closed. */
  channelLost(error: unknown): void
}

/** Shortest time between two channels that replace each other because queues refuse messages, in milliseconds. */
const REPLACE_MS = 1000

/**
 * Publishes with confirms, pipelined on one channel. At most `batchSize * maxConcurrentPublishes` messages are
 * unconfirmed at a time. Messages beyond that queue until their deadline, as they do while the broker is absent or blocks
 * publishing.
 *
 * After a queue has refused a message, the next ones are sent on a new channel: if the leader of a quorum queue is on a
 * node that has just died, RabbitMQ 3 remembers that node for each channel that publishes to the queue for the first time,
 * and refuses all messages of this channel until the node is back, although the queue has a new leader.
 */
export class RabbitMQPublisher implements ChannelOwner {
  readonly #options: ResolvedRabbitMQOptions
  readonly #topology: RabbitMQTopology
  readonly #observer: PublisherObserver
  readonly #window: number
  readonly #waiting: PublishCall[] = []
  readonly #returned = new ReturnedMessages()
  #connection: AmqpConnection | undefined
  #channel: AmqpChannel | undefined
  /** When the channel was opened, by `performance.now()`. */
  #openedAt = 0
  /** When a queue refused a message of this channel. */
  #refusedAt: number | undefined
  #isReplacing = false
  #channelError: Error | undefined
  #blockedReason: string | undefined
  #unconfirmed = 0
  #isScheduled = false
  #isClosed = false
  /** Known once the broker has refused a message. */
  #maxMessageBytes = Number.POSITIVE_INFINITY

  constructor(options: ResolvedRabbitMQOptions, topology: RabbitMQTopology, observer: PublisherObserver) {
    this.#options = options
    this.#topology = topology
    this.#observer = observer
    this.#window = options.batchSize * options.maxConcurrentPublishes
  }

  async open(connection: AmqpConnection): Promise<void> {
    const channel = await this.#openChannel(connection)
    await this.#topology.declareForPublishing(channel)
    this.#connection = connection
    this.#use(channel)
  }

  closed(): void {
    this.#connection = undefined
    this.#channel = undefined
    this.#isReplacing = false
    this.#blockedReason = undefined
    this.#returned.clear()
  }

  /** Stops sending while there is a reason, until it is undefined. */
  setBlocked(reason: string | undefined): void {
    this.#blockedReason = reason
    this.#schedule()
  }

  /** Fails the queued messages, and all later ones. */
  close(): void {
    this.#isClosed = true
    for (const call of this.#waiting.splice(0)) call.giveUp()
  }

  /** Publishes events to the exchange, with the routing keys of their types. */
  publishEvents(
    messages: readonly OutgoingMessage[],
    signal: AbortSignal,
  ): Promise<readonly PublishFailure[]> {
    const { exchange } = this.#options.names
    const make = (index: number) => {
      const message = messages[index]
      if (message === undefined) throw new MessageRefusedError('it is missing')
      return toAmqp(exchange, message)
    }
    return this.#publish(messages.length, make, signal, this.#options.requireRoute)
  }

  /** Publishes one message. @throws UnroutableError if no queue is bound for it; other errors if it fails otherwise. */
  async publishRaw(message: AmqpOutgoing): Promise<void> {
    const signal = AbortSignal.timeout(this.#options.publishTimeoutMs)
    const [failure] = await this.#publish(1, () => message, signal, true)
    if (failure !== undefined) throw failure.error
  }

  #publish(
    count: number,
    make: (index: number) => AmqpOutgoing,
    signal: AbortSignal,
    mustRoute: boolean,
  ): Promise<readonly PublishFailure[]> {
    const call = new PublishCall({ count, make, mustRoute, timeoutError: this.#timeoutError })
    if (this.#isClosed || signal.aborted) call.giveUp()
    else {
      call.until(signal)
      this.#waiting.push(call)
      this.#pump()
    }
    return call.done
  }

  readonly #timeoutError = (): Error =>
    new PublishTimeoutError(this.#options.publishTimeoutMs, this.#obstacle)

  /** Why messages are not confirmed, for the error of those that time out. */
  get #obstacle(): string {
    if (this.#isClosed) return 'the bus was shut down'
    if (this.#blockedReason !== undefined) return `RabbitMQ blocks publishing (${this.#blockedReason})`
    if (this.#channel === undefined) return `RabbitMQ at ${this.#options.address} is not connected`
    return 'RabbitMQ did not confirm in time'
  }

  async #openChannel(connection: AmqpConnection): Promise<AmqpChannel> {
    const channel = await connection.createConfirmChannel()
    channel.on('error', (error) => this.#onChannelError(error))
    channel.on('return', (message) => this.#returned.add(message))
    channel.on('close', () => this.#onClose(channel))
    return channel
  }

  #use(channel: AmqpChannel): void {
    this.#channelError = undefined
    this.#channel = channel
    this.#openedAt = performance.now()
    this.#refusedAt = undefined
    this.#schedule()
  }

  /** Replaces the channel if it is time. @returns true while nothing may be sent. */
  #replaces(old: AmqpChannel): boolean {
    const now = performance.now()
    if (this.#isReplacing) return true
    if (this.#refusedAt === undefined || now - this.#openedAt < REPLACE_MS) return false
    // Messages on two channels could overtake each other. No caller waits for those that are older than the limit.
    const isDrained = this.#unconfirmed === 0 || now - this.#refusedAt >= this.#options.publishTimeoutMs
    if (isDrained) void this.#replace(old)
    return true
  }

  async #replace(old: AmqpChannel): Promise<void> {
    const connection = this.#connection
    if (connection === undefined) return
    this.#isReplacing = true
    try {
      const channel = await this.#openChannel(connection)
      if (this.#channel === old) this.#use(channel)
      void channelCloser(this.#channel === channel ? old : channel)()
    } catch {
      // The channel, if it is still open, serves until the next refusal.
      this.#refusedAt = undefined
    } finally {
      this.#isReplacing = false
      this.#schedule()
    }
  }

  #schedule(): void {
    if (this.#isScheduled || this.#waiting.length === 0) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#pump()
    })
  }

  /** Sends a batch of messages, then yields, so that the event loop can read confirms. */
  #pump(): void {
    for (let room = this.#options.batchSize; room > 0; room -= 1) {
      const channel = this.#channel
      if (channel === undefined || this.#blockedReason !== undefined) return
      if (this.#replaces(channel) || this.#unconfirmed >= this.#window) return
      const call = this.#nextCall()
      if (call === undefined) return
      this.#send(channel, call, call.take())
    }
    this.#schedule()
  }

  #nextCall(): PublishCall | undefined {
    for (;;) {
      const call = this.#waiting[0]
      if (call === undefined || call.hasNext) return call
      this.#waiting.shift()
    }
  }

  #send(channel: AmqpChannel, call: PublishCall, index: number): void {
    try {
      const message = call.make(index)
      this.#checkSize(message)
      const { exchange, routingKey, content, properties } = message
      channel.publish(exchange, routingKey, content, { ...properties, mandatory: true }, (error) => {
        this.#unconfirmed -= 1
        this.#onConfirm(call, index, message, error)
        this.#schedule()
      })
      this.#unconfirmed += 1
    } catch (error) {
      // The client throws before it writes: the headers are too long, or the channel has just closed.
      call.settle(index, { status: 'notStored', error: toError(error) })
    }
  }

  #checkSize({ content }: AmqpOutgoing): void {
    if (content.length > this.#maxMessageBytes) throw this.#tooLarge(content)
  }

  #tooLarge({ length }: Buffer): MessageRefusedError {
    return new MessageRefusedError(
      `its ${length} bytes are more than the ${this.#maxMessageBytes} that RabbitMQ accepts`,
    )
  }

  #onConfirm(call: PublishCall, index: number, message: AmqpOutgoing, error: Error | null): void {
    if (error !== null) {
      call.settle(index, this.#failureOf(message, error))
      return
    }
    if (this.#returned.take(message)) {
      if (!call.mustRoute) this.#observer.returned(message.routingKey)
      else {
        const unroutable = new UnroutableError(message.exchange, message.routingKey)
        call.settle(index, { status: 'notStored', error: unroutable })
        return
      }
    }
    this.#observer.confirmed()
    call.settle(index, undefined)
  }

  #failureOf({ content }: AmqpOutgoing, error: Error): MessageFailure {
    if (content.length > this.#maxMessageBytes) return { status: 'notStored', error: this.#tooLarge(content) }
    if (error.message === 'message nacked') {
      this.#refusedAt ??= performance.now()
      const refusal = new MessageRefusedError(
        'a queue refused the event (nack), perhaps because the queue is full, or has no leader at present',
        true,
      )
      // If several queues are bound, another one may have stored it.
      return { status: 'unknown', error: refusal }
    }
    const cause = this.#channelError
    const { address } = this.#options
    return {
      status: 'unknown',
      error: cause === undefined ? lostError(address, error) : commandError(address, cause),
    }
  }

  #onChannelError(error: Error): void {
    this.#channelError = error
    const limit = /message size \d+ (?:is )?larger than (?:configured )?max size (\d+)/.exec(
      error.message,
    )?.[1]
    if (limit !== undefined) this.#maxMessageBytes = Number(limit)
  }

  #onClose(channel: AmqpChannel): void {
    if (this.#channel !== channel) return
    this.#channel = undefined
    const cause = this.#channelError
    // If the connection closed too, it reports its loss within this turn, and `channelLost` is a no-op.
    setImmediate(() => {
      if (this.#channel === undefined) this.#observer.channelLost(cause)
    })
  }
}
