import type { BusNotice } from '../../transport/notices.ts'
import type { Consumption, Intake } from '../../transport/transport.ts'
import type { ChannelOwner, RabbitMQConnection, WithChannel } from '../client/connection.ts'
import type { RabbitMQTopology } from '../client/topology.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import type { RabbitMQBindings } from './bindings.ts'
import type { RabbitMQWaitingQueues } from './waiting-queues.ts'

/** What a consumption needs, with and without partitions. */
export interface ConsumptionParts {
  readonly options: ResolvedRabbitMQOptions
  readonly topology: RabbitMQTopology
  readonly bindings: RabbitMQBindings
  readonly publisher: RabbitMQPublisher
  readonly waiting: RabbitMQWaitingQueues
  readonly intake: Intake
  /** Makes the connection that the consumption uses. */
  readonly connect: (owner: ChannelOwner) => RabbitMQConnection
  readonly notify: (notice: BusNotice) => void
  readonly withPublisherChannel: WithChannel
}

/** What the transport needs of a consumption, with and without partitions. */
export interface GroupConsumption extends Consumption {
  /** The prefetch, if it stays below the configured one because of `maxInFlightBytes`. */
  readonly limitedPrefetch: number | undefined
  /** Resolves when deliveries may flow. */
  start(): Promise<void>
  /** Applies changed bindings to the group's queues. */
  updateBindings(): Promise<void>
}
