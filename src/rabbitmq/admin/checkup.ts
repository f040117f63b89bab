import type { GroupInfo } from '../../transport/admin.ts'
import { type Check, checksOf, type TransportCheckup } from '../../transport/checkup.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { AmqpConnection } from '../client/client.ts'
import { closeConnection } from '../client/closing.ts'
import type { WithChannel } from '../client/connection.ts'
import { RabbitMQDialer } from '../client/dialer.ts'
import { onOwnChannel } from '../client/own-channel.ts'
import { RabbitMQPlaceNotes } from '../consuming/place-notes.ts'
import { RabbitMQDeadLetters } from '../dead-letters/dead-letters.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import { RabbitMQAdmin } from './admin.ts'
import { RABBITMQ_CHECKS } from './checks.ts'

/** Longest time to close a connection, in milliseconds. */
const CLOSE_TIMEOUT_MS = 500

/** Checks a broker over a connection of its own. The bus does not connect, so that it declares no exchange. */
export class RabbitMQCheckup implements TransportCheckup {
  readonly checks: readonly Check<void>[]
  readonly #options: ResolvedRabbitMQOptions
  readonly #dialer: RabbitMQDialer
  /** Not used: counting dead letters publishes nothing. */
  readonly #publisher: RabbitMQPublisher
  readonly #lost = new AbortController()
  #connection: AmqpConnection | undefined

  constructor(options: ResolvedRabbitMQOptions, publisher: RabbitMQPublisher) {
    this.#options = options
    this.#publisher = publisher
    this.#dialer = new RabbitMQDialer(options)
    const dial = () => this.#dialer.dial('doctor')
    const context = { options, dial, withChannel: this.#withChannel, hasAlarm: false }
    this.checks = checksOf(RABBITMQ_CHECKS, () => context)
  }

  async open(): Promise<string> {
    const connection = await this.#dialer.dial('doctor')
    connection.on('error', () => undefined)
    connection.on('close', () => this.#lost.abort())
    this.#connection = connection
    const { product, version } = connection.connection.serverProperties
    return `Connected to ${String(product)} ${String(version)} at ${this.#options.address}.`
  }

  groups(): Promise<readonly GroupInfo[]> {
    const [options, publisher, withChannel] = [this.#options, this.#publisher, this.#withChannel]
    const deadLetters = new RabbitMQDeadLetters({
      ...{ options, publisher, withChannel },
      placeNotes: new RabbitMQPlaceNotes(options, publisher),
    })
    return new RabbitMQAdmin({ options, withChannel, withLongChannel: withChannel, deadLetters }).groups()
  }

  async close(): Promise<void> {
    if (this.#connection !== undefined) {
      await closeConnection(this.#connection, AbortSignal.timeout(CLOSE_TIMEOUT_MS))
    }
  }

  readonly #withChannel: WithChannel = (work, limitMs = this.#options.connectTimeoutMs) => {
    const { address } = this.#options
    if (this.#connection === undefined || this.#lost.signal.aborted) {
      throw new ConnectionError('CONNECTION_LOST', `The connection to RabbitMQ at ${address} was lost.`)
    }
    return onOwnChannel(this.#connection, work, { address, limitMs, connectionLost: this.#lost.signal })
  }
}
