import { toError } from '../../errors.ts'
import { MessageRefusedError, PublishTimeoutError } from '../../transport/errors.ts'
import type { OutgoingMessage, PublishFailure } from '../../transport/transport.ts'
import type { AmqpChannel, AmqpConnection, AmqpMessage } from '../client/client.ts'
import type { ConnectionSession } from '../client/connection.ts'
import type { RabbitMQTopology } from '../client/topology.ts'
import { commandError, lostError, UnroutableError } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import { type AmqpOutgoing, toAmqp } from '../wire/message.ts'
import { PublishCall } from './publish-call.ts'

/** What the publisher tells of itself. */
export interface PublisherObserver {
  confirmed(): void
  /** No queue was bound for an event. */
  returned(routingKey: string): void
  /** The channel is gone. */
  channelLost(error: unknown): void
}

/**
 * Publishes with confirms, pipelined on one channel. At most `batchSize * maxConcurrentPublishes` messages are
 * unconfirmed at a time; what comes beyond that, or while the broker is away or blocks, waits for its deadline.
 */
export class RabbitMQPublisher implements ConnectionSession {
  readonly #options: ResolvedRabbitMQOptions
  readonly #topology: RabbitMQTopology
  readonly #observer: PublisherObserver
  readonly #window: number
  readonly #waiting: PublishCall[] = []
  /** Messages that came back, by id; their confirms follow. */
  readonly #returned = new Map<string, number>()
  #channel: AmqpChannel | undefined
  #channelError: Error | undefined
  #blockedReason: string | undefined
  #unconfirmed = 0
  #isScheduled = false
  #isClosed = false
  #largestAllowed = Number.POSITIVE_INFINITY

  constructor(options: ResolvedRabbitMQOptions, topology: RabbitMQTopology, observer: PublisherObserver) {
    this.#options = options
    this.#topology = topology
    this.#observer = observer
    this.#window = options.batchSize * options.maxConcurrentPublishes
  }

  async open(connection: AmqpConnection): Promise<void> {
    const channel = await connection.createConfirmChannel()
    channel.on('error', (error) => this.#onChannelError(error))
    channel.on('return', (message) => this.#onReturn(message))
    channel.on('close', () => this.#onClose(channel))
    await this.#topology.declareForPublishing(channel)
    this.#channelError = undefined
    this.#channel = channel
    this.#schedule()
  }

  closed(): void {
    this.#channel = undefined
    this.#blockedReason = undefined
    this.#returned.clear()
  }

  /** From now on, until the reason is undefined, nothing is sent. */
  setBlocked(reason: string | undefined): void {
    this.#blockedReason = reason
    this.#schedule()
  }

  /** Rejects what waits, and all that follows. */
  close(): void {
    this.#isClosed = true
    for (const call of this.#waiting.splice(0)) call.giveUp('the bus was shut down')
  }

  /** Publishes events to the exchange, under the keys of their types. */
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

  /** Publishes one message as it is. @throws UnroutableError where no queue is bound, and other errors. */
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
    const late = (detail: string) => new PublishTimeoutError(this.#options.publishTimeoutMs, detail)
    const call = new PublishCall({ count, make, mustRoute, late })
    if (this.#isClosed || signal.aborted) call.giveUp(this.#obstacle)
    else {
      const onAbort = () => call.giveUp(this.#obstacle)
      signal.addEventListener('abort', onAbort, { once: true })
      void call.done.then(() => signal.removeEventListener('abort', onAbort))
      this.#waiting.push(call)
      this.#pump()
    }
    return call.done
  }

  /** Why messages wait, for the error of those that waited too long. */
  get #obstacle(): string {
    if (this.#isClosed) return 'the bus was shut down'
    if (this.#blockedReason !== undefined) return `RabbitMQ blocks publishing (${this.#blockedReason})`
    if (this.#channel === undefined) return `RabbitMQ at ${this.#options.address} is not connected`
    return 'RabbitMQ did not confirm in time'
  }

  #schedule(): void {
    if (this.#isScheduled || this.#waiting.length === 0) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#pump()
    })
  }

  /** Sends what may be sent, a batch at a time, so that confirms are read in between. */
  #pump(): void {
    for (let room = this.#options.batchSize; room > 0; room -= 1) {
      const channel = this.#channel
      if (channel === undefined || this.#blockedReason !== undefined) return
      if (this.#unconfirmed >= this.#window) return
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
      // Thrown before anything was written: headers that are too long, or a channel that has just closed.
      call.settle(index, { status: 'notStored', error: toError(error) })
    }
  }

  #checkSize({ content }: AmqpOutgoing): void {
    if (content.length <= this.#largestAllowed) return
    throw new MessageRefusedError(
      `its ${content.length} bytes are more than the ${this.#largestAllowed} that RabbitMQ accepts`,
    )
  }

  #onConfirm(call: PublishCall, index: number, message: AmqpOutgoing, error: Error | null): void {
    if (error !== null) {
      call.settle(index, this.#failureOf(message, error))
      return
    }
    if (this.#returned.size > 0 && this.#takeReturned(message)) {
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

  #failureOf({ content }: AmqpOutgoing, error: Error): Omit<PublishFailure, 'index'> {
    if (content.length > this.#largestAllowed) {
      const reason = `its ${content.length} bytes are more than the ${this.#largestAllowed} that RabbitMQ accepts`
      return { status: 'notStored', error: new MessageRefusedError(reason) }
    }
    if (error.message === 'message nacked') {
      const refusal = new MessageRefusedError('a queue refused it (nack), perhaps because it is full')
      // Of several queues, others may have it.
      return { status: 'unknown', error: refusal }
    }
    const cause = this.#channelError
    const { address } = this.#options
    return {
      status: 'unknown',
      error: cause === undefined ? lostError(address, error) : commandError(address, cause),
    }
  }

  #onReturn({ fields, properties }: AmqpMessage): void {
    const key = returnKey(fields.routingKey, properties.messageId)
    this.#returned.set(key, (this.#returned.get(key) ?? 0) + 1)
  }

  #takeReturned({ routingKey, properties }: AmqpOutgoing): boolean {
    const key = returnKey(routingKey, properties.messageId)
    const count = this.#returned.get(key)
    if (count === undefined) return false
    if (count > 1) this.#returned.set(key, count - 1)
    else this.#returned.delete(key)
    return true
  }

  #onChannelError(error: Error): void {
    this.#channelError = error
    const limit = /message size \d+ (?:is )?larger than (?:configured )?max size (\d+)/.exec(
      error.message,
    )?.[1]
    if (limit !== undefined) this.#largestAllowed = Number(limit)
  }

  #onClose(channel: AmqpChannel): void {
    if (this.#channel !== channel) return
    this.#channel = undefined
    const cause = this.#channelError
    // If it went with its connection, that is told in the same turn, and is the better news.
    setImmediate(() => {
      if (this.#channel === undefined) this.#observer.channelLost(cause)
    })
  }
}

function returnKey(routingKey: string, messageId: string | undefined): string {
  return `${routingKey}\0${messageId ?? ''}`
}
