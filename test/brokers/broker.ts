import type { KafkaListener } from './broker-config.ts'
import { isAnswering } from './probe.ts'

export type BrokerKind = 'redis' | 'rabbitmq' | 'kafka'

export interface LaunchOptions {
  /**
   * Extra lines for the broker's own configuration file: redis.conf (`appendfsync always`), rabbitmq.conf
   * (`consumer_timeout = 5000`) or server.properties (`message.max.bytes=2000`). They win over the defaults.
   */
  readonly config?: readonly string[]
  /** Kafka: listeners beside the plaintext one. */
  readonly listeners?: readonly KafkaListener[]
  /** Kafka: the broker's speed is measured, so that it compiles its code fully instead of starting fast. */
  readonly isMeasured?: boolean
}

/** Where a broker runs: a process of this machine or a container. Data survives everything but `remove`. */
export interface BrokerHost {
  readonly pid: number | undefined
  start(): Promise<void>
  stop(): Promise<void>
  kill(): Promise<void>
  freeze(): Promise<void>
  thaw(): Promise<void>
  remove(): Promise<void>
  /** Runs one of the broker's own tools (`rabbitmqctl`) beside it, and returns what it prints. */
  exec(tool: string, args: readonly string[]): Promise<string>
  /** Rejects when the broker's process has ended by itself. */
  checkAlive(): Promise<void>
  logTail(): Promise<string>
}

const startTimeoutMs = 90_000
const pollMs = 25

/** One broker of our own on a loopback port. It keeps the port and its data until it is disposed. */
export class Broker implements AsyncDisposable {
  readonly kind: BrokerKind
  readonly port: number
  readonly #host: BrokerHost

  constructor(kind: BrokerKind, port: number, host: BrokerHost) {
    this.kind = kind
    this.port = port
    this.#host = host
  }

  /** What a client connects to: a URL, or for Kafka the bootstrap server. */
  get url(): string {
    return addressOf(this.kind, this.port)
  }

  /** The process of the broker; undefined while it is down, and always in a container. */
  get pid(): number | undefined {
    return this.#host.pid
  }

  /** Starts the broker and waits until it answers its protocol. */
  async start(): Promise<void> {
    await this.#host.start()
    const deadline = Date.now() + startTimeoutMs
    while (!(await this.isAnswering())) {
      await this.#host.checkAlive()
      if (Date.now() > deadline) await this.#failToStart()
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  }

  /** Asks the broker to end and waits until it has. */
  async stop(): Promise<void> {
    await this.#host.stop()
  }

  /** Ends the broker without warning, as a power cut would. */
  async kill(): Promise<void> {
    await this.#host.kill()
  }

  /** Suspends the broker: its connections stay open, nothing answers. */
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

  /** Runs one of the broker's own tools, such as `rabbitmqctl`, and returns what it prints. */
  async exec(tool: string, ...args: readonly string[]): Promise<string> {
    return await this.#host.exec(tool, args)
  }

  /** Whether the broker completes a first exchange of its protocol on a new connection. */
  async isAnswering(timeoutMs = 1_000): Promise<boolean> {
    return await isAnswering(this.kind, { host: '127.0.0.1', port: this.port }, timeoutMs)
  }

  /** The last lines the broker wrote. */
  async logTail(): Promise<string> {
    return await this.#host.logTail()
  }

  /** Ends the broker and removes its data. */
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

export function addressOf(kind: BrokerKind, port: number): string {
  switch (kind) {
    case 'redis':
      return `redis://127.0.0.1:${port}`
    case 'rabbitmq':
      return `amqp://guest:guest@127.0.0.1:${port}/`
    case 'kafka':
      return `127.0.0.1:${port}`
  }
}
