import { toError } from '../../errors.ts'
import { settledWithin } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { ServerAddress } from '../../transport/transport.ts'
import { connectionError, isRetryable, noConnection } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { BrokerConnection, type ConnectionTarget, type ConnectionUse } from './broker-connection.ts'
import { type KafkaLibrary, loadKafka } from './client.ts'
import { findMismatch } from './diagnosis.ts'
import type { BrokerNode } from './protocol.ts'
import { connectionSecurity } from './security.ts'
import { addressText, firstAnswer, NoAnswerError, ServerOrder } from './servers.ts'

/** A server that answered, and the brokers that it announced. */
interface Answer {
  readonly connection: BrokerConnection
  readonly brokers: ReadonlyMap<number, BrokerNode>
}

/** How long one server may be silent before the next one is asked too, in milliseconds. */
const HEAD_START_MS = 1000

/** Opens connections: to a broker by its id, or to any server that answers. Knows the brokers that were announced last. */
export class BrokerDialer {
  readonly #options: ResolvedKafkaOptions
  readonly #closed: AbortSignal
  readonly #onBroken: (connection: BrokerConnection) => void
  /** The order in which servers are asked: those that answered come first. */
  readonly order = new ServerOrder()
  brokers: ReadonlyMap<number, BrokerNode> = new Map()
  #library: KafkaLibrary | undefined
  #security: object | undefined

  /** @param closed - aborts when the cluster is closed. A connection that opens later is closed at once. */
  constructor(
    options: ResolvedKafkaOptions,
    closed: AbortSignal,
    onBroken: (connection: BrokerConnection) => void,
  ) {
    this.#options = options
    this.#closed = closed
    this.#onBroken = onBroken
  }

  /** The client library. @throws ConnectionError before the first connection. */
  get library(): KafkaLibrary {
    if (this.#library === undefined) throw noConnection(this.#options.address)
    return this.#library
  }

  /** Loads the client library, and opens the first connection to a server that answers. @throws ConnectionError */
  async first(): Promise<BrokerConnection> {
    const library = await loadKafka()
    this.#library = library
    const { compressionType } = this.#options
    if (library.compressionsAlgorithms[compressionType]?.available !== true) {
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `compressionType '${compressionType}' is not available in Node.js ${process.version}; choose another.`,
      )
    }
    this.#security = await connectionSecurity(this.#options)
    const startedAt = performance.now()
    try {
      return await this.#openControl()
    } catch (thrown) {
      throw await this.#explain(thrown, startedAt)
    }
  }

  /** @param nodeId - the broker; undefined for any that answers. @throws ConnectionError */
  async open(nodeId: number | undefined, use: ConnectionUse): Promise<BrokerConnection> {
    if (nodeId !== undefined) {
      const server = this.brokers.get(nodeId)
      if (server === undefined) throw noConnection(this.#options.address)
      return this.#open({ nodeId, use, server })
    }
    try {
      return await this.#openControl(use)
    } catch (thrown) {
      // A refusal is the most precise: waiting does not help.
      const failures = thrown instanceof NoAnswerError ? thrown.failures : []
      throw failures.find(({ error }) => !isRetryable(error))?.error ?? failures[0]?.error ?? thrown
    }
  }

  /**
   * Connects to a broker that answers, by the address that the brokers announce. A bootstrap server may be a name that
   * only leads to one of them. @throws NoAnswerError or ConnectionError
   */
  async #openControl(use: ConnectionUse = 'control'): Promise<BrokerConnection> {
    const found = await this.#firstAnswer([...this.brokers.values(), ...this.#options.servers], use)
    this.brokers = found.brokers
    const { server } = found.connection.target
    const announced = [...found.brokers.values()]
    if (announced.some((broker) => addressText(broker) === addressText(server))) return found.connection
    try {
      const { connection } = await this.#firstAnswer(announced, use)
      return connection
    } catch (thrown) {
      throw thrown instanceof NoAnswerError ? announcedError(addressText(server), thrown) : thrown
    } finally {
      void found.connection.close()
    }
  }

  #firstAnswer(servers: readonly ServerAddress[], use: ConnectionUse): Promise<Answer> {
    return firstAnswer(this.order.of(servers), {
      ask: (server) => this.#ask(server, use),
      headStartMs: Math.min(HEAD_START_MS, this.#options.connectTimeoutMs / 2),
      onLate: ({ connection }) => void connection.close(),
    })
  }

  /** Connects to a server and asks it for the brokers: one that accepts connections may still be silent. */
  async #ask(server: ServerAddress, use: ConnectionUse): Promise<Answer> {
    try {
      const connection = await this.#open({ nodeId: undefined, use, server })
      try {
        // A broker that requires SASL answers the negotiation, and closes the connection at the next request.
        const { brokers } = await connection.send(
          (raw, { metadata }) => metadata.async(raw, [], false, false),
          this.#options.connectTimeoutMs,
        )
        this.order.onAnswered(server)
        return { connection, brokers: byNode(brokers) }
      } catch (thrown) {
        void connection.close()
        throw connectionError(addressText(server), connection.firstError ?? thrown)
      }
    } catch (thrown) {
      this.order.onFailed(server)
      throw thrown
    }
  }

  /** The error to report if the first connection fails. Finds out whether the bus and a broker disagree on the protocol. */
  async #explain(thrown: unknown, startedAt: number): Promise<Error> {
    if (!(thrown instanceof NoAnswerError)) return toError(thrown)
    const refused = thrown.failures.find(({ error }) => !isRetryable(error))
    if (refused !== undefined) return refused.error
    const mismatches = Promise.all(
      thrown.failures.map(({ server }) =>
        findMismatch(this.library, this.#options, server, this.#security ?? {}),
      ),
    )
    const leftMs = startedAt + this.#options.connectTimeoutMs - performance.now()
    const isKnown = leftMs > 0 && (await settledWithin(mismatches, leftMs))
    const mismatch = isKnown ? (await mismatches).find((error) => error !== undefined) : undefined
    return mismatch ?? new ConnectionError('CONNECTION_FAILED', thrown.message)
  }

  async #open(target: ConnectionTarget): Promise<BrokerConnection> {
    const connection = new BrokerConnection(target, {
      library: this.library,
      options: this.#options,
      security: this.#security,
      onBroken: this.#onBroken,
    })
    await connection.connect()
    if (!this.#closed.aborted) return connection
    void connection.close()
    throw noConnection(this.#options.address)
  }
}

export function byNode(brokers: readonly BrokerNode[]): ReadonlyMap<number, BrokerNode> {
  return new Map(brokers.map((broker) => [broker.nodeId, broker]))
}

/** A server answered, and no broker can be reached by the address that it announced. */
function announcedError(server: string, { failures }: NoAnswerError): ConnectionError {
  const refused = failures.find(({ error }) => !isRetryable(error))
  if (refused?.error instanceof ConnectionError) return refused.error
  const announced = failures.map((failure) => addressText(failure.server)).join(', ')
  return new ConnectionError(
    'CONNECTION_FAILED',
    `Kafka at ${server} answers, and announces its brokers as ${announced}, none of which this host can reach. ` +
      `${failures[0]?.error.message ?? ''} Set advertised.listeners to addresses that this host can resolve and reach.`,
  )
}
