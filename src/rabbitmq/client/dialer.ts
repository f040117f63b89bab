import { readFile } from 'node:fs/promises'
import { ConnectionError } from '../../transport/errors.ts'
import { connectError } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import { type AmqpConnection, loadAmqplib, openConnection } from './client.ts'
import { closeConnection } from './closing.ts'
import type { Endpoint } from './url.ts'

/** Longest time to close the connection to a refused server, in milliseconds. */
const CLOSE_TIMEOUT_MS = 500

/** Opens connections. Tries the endpoint of the last success first, then the others in turn. */
export class RabbitMQDialer {
  readonly #options: ResolvedRabbitMQOptions
  #first = 0

  constructor(options: ResolvedRabbitMQOptions) {
    this.#options = options
  }

  /**
   * @param purpose - follows the consumer's name in the broker's list of connections.
   * @throws ConnectionError
   * @throws RabbitMQNotAvailableError if the npm package is not installed.
   */
  async dial(purpose: string): Promise<AmqpConnection> {
    const { endpoints } = this.#options
    await loadAmqplib()
    let failure: ConnectionError | undefined
    for (let tried = 0; tried < endpoints.length; tried += 1) {
      const index = (this.#first + tried) % endpoints.length
      const endpoint = endpoints[index]
      if (endpoint === undefined) continue
      try {
        const connection = await this.#open(endpoint, purpose)
        await refuseOldServer(connection, endpoint.address)
        this.#first = index
        return connection
      } catch (error) {
        failure = connectError(endpoint.address, error)
        if (!failure.retryable) throw failure
      }
    }
    throw failure ?? new ConnectionError('CONNECTION_FAILED', 'No endpoint of RabbitMQ is configured.')
  }

  /** The client's own timeout is for silence: a server that sends a byte now and then would never end it. */
  async #open(endpoint: Endpoint, purpose: string): Promise<AmqpConnection> {
    const { connectTimeoutMs } = this.#options
    const options = await this.#socketOptions(endpoint, purpose)
    const deadline = new AbortController()
    const overdue = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      overdue.reject(new Error(`not connected within ${connectTimeoutMs} ms (connectTimeoutMs)`))
    }, connectTimeoutMs)
    try {
      const opening = openConnection(endpoint.url, { ...options, signal: deadline.signal })
      // It fails once more when its socket is destroyed.
      opening.catch(() => undefined)
      return await Promise.race([opening, overdue.promise])
    } catch (error) {
      // After some failures, the client leaves the socket open.
      deadline.abort()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  async #socketOptions({ host, isTls }: Endpoint, purpose: string): Promise<object> {
    const { connectTimeoutMs, consumerName } = this.#options
    return {
      host,
      timeout: connectTimeoutMs,
      noDelay: true,
      keepAlive: true,
      clientProperties: { connection_name: `${consumerName} ${purpose}`, product: 'eventspine' },
      ...(isTls ? await this.#tlsOptions() : {}),
    }
  }

  /** Reads the files for each connection, so that a renewed certificate is picked up. */
  async #tlsOptions(): Promise<object> {
    const { sslOptions, sslContext, verifySsl, caFile, certFile, keyFile } = this.#options
    const [ca, cert, key] = await Promise.all([caFile, certFile, keyFile].map(contentOf))
    return {
      ...(verifySsl ? {} : { rejectUnauthorized: false }),
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...sslOptions,
      ...(sslContext === undefined ? {} : { secureContext: sslContext }),
    }
  }
}

/** @throws ConnectionError if the server is a RabbitMQ that this bus does not support. Its connection is closed then. */
async function refuseOldServer(connection: AmqpConnection, address: string): Promise<void> {
  const { product, version } = connection.connection.serverProperties
  if (product !== 'RabbitMQ' || typeof version !== 'string') return // another server of the same protocol
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > 3 || (major === 3 && minor >= 10)) return
  connection.on('error', () => undefined) // the refusal is what the caller needs to know
  await closeConnection(connection, AbortSignal.timeout(CLOSE_TIMEOUT_MS))
  throw new ConnectionError(
    'TOPOLOGY_CONFLICT',
    `RabbitMQ at ${address} has version ${version}. RabbitMQEventBus needs RabbitMQ 3.10 or newer.`,
  )
}

async function contentOf(path: string | undefined): Promise<Buffer | undefined> {
  return path === undefined ? undefined : readFile(path)
}
