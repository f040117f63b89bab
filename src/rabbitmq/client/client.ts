import { EventspineError } from '../../errors.ts'
import { isInstalled, unavailable } from '../../kit/optional-package.ts'
import { type FrameReceiver, guardTables } from './table-guard.ts'

/** A table of headers or arguments, as amqplib reads and writes it. */
export type AmqpTable = Readonly<Record<string, unknown>>

/** Properties of a message. */
export interface AmqpProperties {
  readonly contentType?: string | undefined
  readonly contentEncoding?: string | undefined
  readonly headers?: AmqpTable | undefined
  readonly deliveryMode?: number | undefined
  readonly priority?: number | undefined
  readonly correlationId?: string | undefined
  readonly replyTo?: string | undefined
  readonly messageId?: string | undefined
  /** Whole seconds. */
  readonly timestamp?: number | undefined
  readonly type?: string | undefined
  readonly appId?: string | undefined
  /** How long a queue keeps it: milliseconds, as text. */
  readonly expiration?: string | undefined
}

/** A message that the broker delivered, returned as unroutable, or sent in reply to `get`. */
export interface AmqpMessage {
  readonly fields: {
    readonly deliveryTag: number
    readonly redelivered: boolean
    readonly exchange: string
    readonly routingKey: string
    /** Messages that were behind this one in the queue; only of a message that `get` returned. */
    readonly messageCount?: number
  }
  readonly properties: AmqpProperties
  readonly content: Buffer
}

export interface AmqpQueueOptions {
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly arguments: AmqpTable
  /** Only this connection may use the queue, and the broker deletes it with the connection. Default false. */
  readonly exclusive?: boolean
}

export interface AmqpExchangeOptions {
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly arguments?: AmqpTable
}

export interface AmqpQueueState {
  readonly messageCount: number
  readonly consumerCount: number
}

/** The part of an amqplib channel that this bus uses. It keeps amqplib's types out of the published ones. */
export interface AmqpChannel {
  assertExchange(name: string, type: string, options: AmqpExchangeOptions): Promise<unknown>
  checkExchange(name: string): Promise<unknown>
  assertQueue(name: string, options: AmqpQueueOptions): Promise<AmqpQueueState>
  checkQueue(name: string): Promise<AmqpQueueState>
  deleteQueue(name: string): Promise<unknown>
  deleteExchange(name: string): Promise<unknown>
  purgeQueue(name: string): Promise<{ readonly messageCount: number }>
  bindQueue(queue: string, exchange: string, key: string, match?: AmqpTable): Promise<unknown>
  unbindQueue(queue: string, exchange: string, key: string, match?: AmqpTable): Promise<unknown>
  /** Binds an exchange to another one, from which it then receives messages. */
  bindExchange(destination: string, source: string, key: string, match?: AmqpTable): Promise<unknown>
  unbindExchange(destination: string, source: string, key: string, match?: AmqpTable): Promise<unknown>
  prefetch(count: number): Promise<unknown>
  consume(
    queue: string,
    onMessage: (message: AmqpMessage | null) => void,
    options?: {
      readonly consumerTag?: string
      readonly exclusive?: boolean
      readonly noAck?: boolean
      readonly arguments?: AmqpTable
    },
  ): Promise<{ readonly consumerTag: string }>
  cancel(consumerTag: string): Promise<unknown>
  /**
   * Takes one message. The queue answers after it has taken back what was returned to it before; it answers `checkQueue`,
   * whose count lacks these messages, earlier than that.
   */
  get(queue: string): Promise<AmqpMessage | false>
  /** Returns all unacknowledged messages to their queues, in front of what later calls of `get` and `consume` find. */
  recover(): Promise<unknown>
  ack(message: { readonly fields: { readonly deliveryTag: number } }, allUpTo?: boolean): void
  nack(
    message: { readonly fields: { readonly deliveryTag: number } },
    allUpTo: boolean,
    requeue: boolean,
  ): void
  publish(
    exchange: string,
    routingKey: string,
    content: Buffer,
    options: AmqpProperties & { readonly mandatory: boolean },
    onConfirm?: (error: Error | null) => void,
  ): boolean
  close(): Promise<void>
  on(event: 'close', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'return', listener: (message: AmqpMessage) => void): unknown
}

/** The part of an amqplib connection that this bus uses. */
export interface AmqpConnection {
  createChannel(): Promise<AmqpChannel>
  createConfirmChannel(): Promise<AmqpChannel>
  close(): Promise<void>
  on(event: 'close', listener: (error?: Error) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'blocked', listener: (reason: string) => void): unknown
  on(event: 'unblocked', listener: () => void): unknown
  /** The socket, to be destroyed if the broker does not answer a close. */
  readonly connection: FrameReceiver & {
    readonly stream: { destroy(error: Error): void }
    /** The properties that the server reports, for example its product and version. */
    readonly serverProperties: Readonly<Record<string, unknown>>
  }
}

/**
 * False if the npm package `amqplib` is certainly not installed. In a bundle, this is known only when the bus connects.
 */
export const RABBITMQ_AVAILABLE: boolean =
  isInstalled('amqplib', import.meta, '/rabbitmq/client/client.ts') ?? true

/** The npm package `amqplib` is not installed, or cannot be loaded. */
export class RabbitMQNotAvailableError extends EventspineError {
  static override readonly name = 'RabbitMQNotAvailableError'
  readonly code = 'RABBITMQ_NOT_AVAILABLE'

  /** @param error - of loading the package; undefined if it is not installed. */
  constructor(error?: unknown) {
    super(unavailable('RabbitMQEventBus', 'amqplib', 'amqplib@2', error), { cause: error })
  }
}

/** Opens a connection. The first call loads the package. */
export async function openConnection(url: string, socketOptions: object): Promise<AmqpConnection> {
  const { connect } = await loadAmqplib()
  // AmqpConnection declares the part of amqplib's type that is used.
  const connection = (await connect(url, socketOptions)) as AmqpConnection
  guardTables(connection.connection)
  return connection
}

/** The part of the package that is used, so that its types do not become part of this library's. */
interface AmqpLibrary {
  connect(url: string, socketOptions: object): Promise<unknown>
}

/** Loads the npm package. @throws RabbitMQNotAvailableError if it is not installed. */
export async function loadAmqplib(): Promise<AmqpLibrary> {
  // A bundler includes the package if it finds it. The handler lets it continue if not, for a program without RabbitMQ.
  return import('amqplib').catch((error: unknown) => {
    throw new RabbitMQNotAvailableError(error)
  })
}
