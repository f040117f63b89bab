import type { Logger } from '../observability/logger.ts'
import type { TransportAdmin } from '../transport/admin.ts'
import type { TransportCheckup } from '../transport/checkup.ts'
import type { GroupControlStore } from '../transport/control.ts'
import type { ConnectionError } from '../transport/errors.ts'
import type { PresenceStore } from '../transport/presence.ts'
import type {
  Consumption,
  Intake,
  OutgoingMessage,
  PublishFailure,
  ServerAddress,
  Transport,
  TransportHost,
} from '../transport/transport.ts'
import type { AmqpChannel } from './client/client.ts'
import { type ChannelOwner, RabbitMQConnection } from './client/connection.ts'
import { RabbitMQDialer } from './client/dialer.ts'
import { LinkReport } from './client/link-report.ts'
import { RabbitMQTopology } from './client/topology.ts'
import type { RabbitMQBinding } from './consuming/binding-record.ts'
import { RabbitMQBindings } from './consuming/bindings.ts'
import type { ConsumptionParts, GroupConsumption } from './consuming/group-consumption.ts'
import { RabbitMQGroupTypes } from './consuming/group-types.ts'
import { RabbitMQPlaceNotes } from './consuming/place-notes.ts'
import { RabbitMQWaitingQueues } from './consuming/waiting-queues.ts'
import { RabbitMQDeadLetters } from './dead-letters/dead-letters.ts'
import { undefinedIfNotFound } from './errors.ts'
import type { ResolvedRabbitMQOptions } from './options.ts'
import { RabbitMQPublisher } from './publishing/publisher.ts'

/** The state of the queue of one partition. */
export interface RabbitMQPartitionInfo {
  readonly name: string
  readonly messageCount: number
  /** Its consumer, and the one that stands by. */
  readonly consumerCount: number
}

/** The state of the group's queue and of the exchange, as the broker reports it. */
export interface RabbitMQQueueInfo {
  readonly name: string
  /** Messages ready in the queue, or in those of all partitions, without those that consumers hold. */
  readonly messageCount: number
  /** Consumers of the group, in all processes. */
  readonly consumerCount: number
  /** The queues of the partitions; undefined without partitions. */
  readonly partitions?: readonly RabbitMQPartitionInfo[]
  /** `'missing'` until the group first consumes. */
  readonly state: 'running' | 'idle' | 'missing'
  readonly queueType: 'classic' | 'quorum'
  readonly exchange: { readonly name: string; readonly type: string; readonly isDeclared: boolean }
}

/** Counts in addition to those of every bus. */
export interface RabbitMQCounts {
  publishConfirms: number
  publishReturns: number
}

/** Uses two connections, so that acknowledgments continue while the broker blocks publishing. */
export class RabbitMQTransport implements Transport {
  readonly system = 'rabbitmq'
  readonly destination: string
  readonly server: ServerAddress | undefined = undefined
  readonly consumerName: string
  readonly maxHeld: number
  readonly deadLetters: RabbitMQDeadLetters
  readonly groupTypes: RabbitMQGroupTypes
  readonly waiting: RabbitMQWaitingQueues
  readonly counts: RabbitMQCounts = { publishConfirms: 0, publishReturns: 0 }
  readonly #options: ResolvedRabbitMQOptions
  readonly #host: TransportHost
  readonly #dialer: RabbitMQDialer
  readonly #topology: RabbitMQTopology
  readonly #bindings: RabbitMQBindings
  readonly #publisher: RabbitMQPublisher
  readonly #connection: RabbitMQConnection
  readonly #report: LinkReport
  #consumption: GroupConsumption | undefined

  /** @param subscribedKeys - the routing keys of the event classes that have handlers. */
  constructor(
    options: ResolvedRabbitMQOptions,
    host: TransportHost,
    logger: Logger,
    subscribedKeys: () => readonly string[],
  ) {
    this.#options = options
    this.#host = host
    this.destination = options.names.exchange
    this.consumerName = options.consumerName
    this.maxHeld = options.prefetchCount
    const [endpoint, ...others] = options.endpoints
    // Not the endpoint itself: its URL contains the password.
    if (endpoint !== undefined && others.length === 0) {
      this.server = { host: endpoint.host, port: endpoint.port }
    }
    this.#dialer = new RabbitMQDialer(options)
    this.#topology = new RabbitMQTopology(options)
    this.#bindings = new RabbitMQBindings(options, subscribedKeys)
    this.#report = new LinkReport(options.names.exchange, host, logger)
    this.#publisher = new RabbitMQPublisher(options, this.#topology, {
      confirmed: () => {
        this.counts.publishConfirms += 1
      },
      returned: (routingKey) => {
        this.counts.publishReturns += 1
        this.#report.unroutable(routingKey)
      },
      channelLost: (error) => this.#connection.reopen(error),
    })
    this.#connection = this.#connect('publisher', this.#publisher)
    this.groupTypes = new RabbitMQGroupTypes(options, (work) => this.#connection.withChannel(work))
    const queues = {
      options,
      publisher: this.#publisher,
      withChannel: <R>(work: (channel: AmqpChannel) => Promise<R>, limitMs?: number) =>
        this.#connection.withChannel(work, limitMs),
    }
    const placeNotes = new RabbitMQPlaceNotes(options, this.#publisher)
    this.deadLetters = new RabbitMQDeadLetters({ ...queues, placeNotes })
    const { own } = this.deadLetters
    this.waiting = new RabbitMQWaitingQueues({
      ...queues,
      parkedPlaces: () => own.places(),
      notify: (notice) => host.notify(notice),
    })
  }

  async connect(): Promise<void> {
    await this.#connection.open()
  }

  publish(messages: readonly OutgoingMessage[], signal: AbortSignal): Promise<readonly PublishFailure[]> {
    return this.#publisher.publishEvents(messages, signal)
  }

  async consume(intake: Intake): Promise<Consumption> {
    const parts: ConsumptionParts = {
      options: this.#options,
      topology: this.#topology,
      bindings: this.#bindings,
      publisher: this.#publisher,
      waiting: this.waiting,
      intake,
      connect: (owner) => this.#connect('consumer', owner),
      notify: (notice) => this.#host.notify(notice),
      withPublisherChannel: (work) => this.#connection.withChannel(work),
    }
    const consumption = await createConsumption(parts)
    // Set before the start, so that `updateBindings` reaches it meanwhile.
    this.#consumption = consumption
    try {
      await consumption.start()
      this.#reportPrefetch(consumption.limitedPrefetch)
    } catch (error) {
      await consumption.release(AbortSignal.timeout(this.#options.connectTimeoutMs))
      throw error
    }
    return consumption
  }

  async lag(): Promise<number | undefined> {
    const queues = await this.#lookUp((channel) => this.#queueStates(channel))
    return queues?.reduce((sum, { messageCount }) => sum + messageCount, 0)
  }

  async loadAdmin(): Promise<TransportAdmin> {
    const { RabbitMQAdmin } = await import('./admin/admin.ts')
    return new RabbitMQAdmin({
      options: this.#options,
      withChannel: (work) => this.#connection.withChannel(work),
      withLongChannel: (work) => this.#connection.withChannel(work, Number.POSITIVE_INFINITY),
      deadLetters: this.deadLetters,
    })
  }

  async loadControl(): Promise<GroupControlStore> {
    const { RabbitMQGroupControl } = await import('./consuming/group-control.ts')
    return new RabbitMQGroupControl(this.#options, (work) => this.#connection.withChannel(work))
  }

  async loadPresence(): Promise<PresenceStore> {
    const { RabbitMQPresence } = await import('./admin/presence.ts')
    return new RabbitMQPresence(this.#options, (work) => this.#connection.withChannel(work))
  }

  async loadCheckup(): Promise<TransportCheckup> {
    const { RabbitMQCheckup } = await import('./admin/checkup.ts')
    return new RabbitMQCheckup(this.#options, this.#publisher)
  }

  async removeAll(groups: readonly string[], created: readonly string[]): Promise<void> {
    const { removeQueuesAndExchanges } = await import('./admin/removal.ts')
    const names = { groups, created }
    await removeQueuesAndExchanges(this.#options, (work) => this.#connection.withChannel(work), names)
  }

  async close(signal: AbortSignal): Promise<void> {
    this.#publisher.close()
    await this.#connection.close(signal)
  }

  async bind(binding: RabbitMQBinding): Promise<void> {
    this.#bindings.add(binding)
    await this.updateBindings()
  }

  async unbind(binding: RabbitMQBinding): Promise<void> {
    this.#bindings.remove(binding)
    await this.updateBindings()
  }

  #reportPrefetch(prefetch: number | undefined): void {
    const { prefetchCount, maxInFlightBytes } = this.#options
    if (prefetch !== undefined) this.#report.prefetchLimited({ prefetch, prefetchCount, maxInFlightBytes })
  }

  /** Applies changed bindings to the queue, if the bus has consumed. */
  async updateBindings(): Promise<void> {
    await this.#consumption?.updateBindings()
  }

  async queueInfo(): Promise<RabbitMQQueueInfo> {
    const { names, exchangeType, queueType, isPartitioned } = this.#options
    const { queue, exchange } = names
    const queues = await this.#lookUp((channel) => this.#queueStates(channel))
    const consumerCount =
      queues === undefined
        ? 0
        : ((await this.#lookUp((channel) => this.#topology.countConsumers(channel))) ?? 0)
    const found = await this.#lookUp((channel) => channel.checkExchange(exchange))
    return {
      name: queue,
      messageCount: queues?.reduce((sum, { messageCount }) => sum + messageCount, 0) ?? 0,
      consumerCount,
      state: queues === undefined ? 'missing' : consumerCount > 0 ? 'running' : 'idle',
      queueType,
      ...(isPartitioned && queues !== undefined ? { partitions: queues } : {}),
      exchange: { name: exchange, type: exchangeType, isDeclared: found !== undefined },
    }
  }

  #queueStates(channel: AmqpChannel): Promise<readonly RabbitMQPartitionInfo[]> {
    return Promise.all(
      this.#topology.queues.map(async (name) => {
        const { messageCount, consumerCount } = await channel.checkQueue(name)
        return { name, messageCount, consumerCount }
      }),
    )
  }

  #lookUp<T>(lookup: (channel: AmqpChannel) => Promise<T>): Promise<T | undefined> {
    return undefinedIfNotFound(this.#connection.withChannel(lookup))
  }

  #connect(purpose: 'publisher' | 'consumer', owner: ChannelOwner): RabbitMQConnection {
    const { address, connectTimeoutMs, reconnectDelayMs, maxReconnectDelayMs } = this.#options
    const settings = { purpose, address, connectTimeoutMs, reconnectDelayMs, maxReconnectDelayMs }
    return new RabbitMQConnection(this.#dialer, settings, owner, {
      lost: (error: ConnectionError) => this.#report.lost(purpose, error),
      restored: () => this.#report.restored(purpose),
      channelLost: (error) => this.#report.channelLost(purpose, error),
      restoreFailed: (error, failure) => this.#report.restoreFailed(purpose, error, failure),
      blocked: (reason) => {
        if (purpose === 'publisher') this.#publisher.setBlocked(reason)
        this.#report.blocked(purpose, reason)
      },
      unblocked: () => {
        if (purpose === 'publisher') this.#publisher.setBlocked(undefined)
        this.#report.unblocked(purpose)
      },
      closed: () => this.#report.closed(purpose),
    })
  }
}

async function createConsumption(parts: ConsumptionParts): Promise<GroupConsumption> {
  if (parts.options.isPartitioned) {
    const { PartitionedConsumption } = await import('./consuming/partitioned-consumption.ts')
    return new PartitionedConsumption(parts)
  }
  const { RabbitMQConsumption } = await import('./consuming/consumption.ts')
  return new RabbitMQConsumption(parts)
}
