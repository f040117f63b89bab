import { paced } from '../support/pace.ts'
import type { KafkaListener } from './broker-config.ts'
import { noteStart } from './broker-starts.ts'
import { isAnswering } from './probe.ts'

export type BrokerKind = 'redis' | 'rabbitmq' | 'kafka'

/** A server that the tests start: a broker, or the database of the durable stores. */
export type ServerKind = BrokerKind | 'postgres'

export interface LaunchOptions {
  /**
   * Extra lines for the broker's own configuration file: redis.conf (`appendfsync always`), rabbitmq.conf
   * (`consumer_timeout = 5000`), server.properties (`message.max.bytes=2000`) or postgresql.conf
   * (`max_connections = 20`). They override the defaults.
   */
  readonly config?: readonly string[]
  /** RabbitMQ on this machine: the enabled plugins. Default: those that the bus may need. */
  readonly plugins?: readonly string[]
  /** Kafka: listeners in addition to the plaintext one. */
  readonly listeners?: readonly KafkaListener[]
  /** The broker runs as in production, with its data on the disk, instead of with settings for a fast start. */
  readonly isMeasured?: boolean
}

/** The host of a broker: a process on this machine, or a container. Only `remove` deletes the data. */
export interface BrokerHost {
  readonly pid: number | undefined
  start(): Promise<void>
  stop(): Promise<void>
  kill(): Promise<void>
  freeze(): Promise<void>
  thaw(): Promise<void>
  remove(): Promise<void>
  /** Runs one of the broker's tools (`rabbitmqctl`) on its host and returns the output. */
  exec(tool: string, args: readonly string[]): Promise<string>
  /** Rejects if the broker's process has ended unexpectedly. */
  checkAlive(): Promise<void>
  logTail(): Promise<string>
}

const startTimeoutMs = paced(90_000)
const pollMs = 25

/** A private broker on a loopback port. It keeps its port and data until it is disposed. */
export class Broker<Kind extends ServerKind = BrokerKind> implements AsyncDisposable {
  readonly kind: Kind
  readonly port: number
  readonly #host: BrokerHost

  constructor(kind: Kind, port: number, host: BrokerHost) {
    this.kind = kind
    this.port = port
    this.#host = host
  }

  /** The address for clients: a URL, or for Kafka the bootstrap server. */
  get url(): string {
    return addressOf(this.kind, this.port)
  }

  /** The process id of the broker; undefined while it is down, and always in a container. */
  get pid(): number | undefined {
    return this.#host.pid
  }

  /** Starts the broker and waits until it answers a request of its protocol. */
  async start(): Promise<void> {
    const isUp = noteStart(`${this.kind} on port ${this.port}`)
    await this.#host.start()
    const deadline = Date.now() + startTimeoutMs
    while (!(await this.isAnswering())) {
      await this.#host.checkAlive()
      if (Date.now() > deadline) await this.#failToStart()
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
    isUp()
  }

  /** Stops the broker gracefully and waits until it has ended. */
  async stop(): Promise<void> {
    await this.#host.stop()
  }

  /** Kills the broker without warning, as a power cut would. */
  async kill(): Promise<void> {
    await this.#host.kill()
  }

  /** Suspends the broker: its connections stay open, but it does not answer. */
  async freeze(): Promise<void> {
    await this.#host.freeze()
  }

  async thaw(): Promise<void> {
    await this.#host.thaw()
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** Runs one of the broker's tools, such as `rabbitmqctl`, and returns the output. */
  async exec(tool: string, ...args: readonly string[]): Promise<string> {
    return await this.#host.exec(tool, args)
  }

  /** @returns true if the broker completes the first exchange of its protocol on a new connection. */
  async isAnswering(timeoutMs = 1_000): Promise<boolean> {
    return await isAnswering(this.kind, { host: '127.0.0.1', port: this.port }, timeoutMs)
  }

  /** @returns the last lines of the broker's log. */
  async logTail(): Promise<string> {
    return await this.#host.logTail()
  }

  /** Stops the broker and removes its data. */
  async dispose(): Promise<void> {
    await this.#host.remove()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  async #failToStart(): Promise<never> {
    throw new Error(
      `${this.kind} on port ${this.port} did not answer within ${startTimeoutMs} ms. Its log ends with:\n` +
        (await this.logTail()),
    )
  }
}

export function addressOf(kind: ServerKind, port: number): string {
  switch (kind) {
    case 'redis':
      return `redis://127.0.0.1:${port}`
    case 'rabbitmq':
      return `amqp://guest:guest@127.0.0.1:${port}/`
    case 'kafka':
      return `127.0.0.1:${port}`
    case 'postgres':
      return `postgres://postgres@127.0.0.1:${port}/postgres`
  }
}
