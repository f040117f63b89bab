import type { BrokerOptions, EventBus, PartitionOptions } from '../../bus/index.ts'
import type { Logger } from '../../index.ts'
import type { RawMessage } from '../memory-broker.ts'
import type { Capability } from './capabilities.ts'

/**
 * Options that the suite passes to a bus. For an `InMemoryEventBus`, use those that it knows; for a broker bus, pass
 * all of them. If the topics of the broker have partitions of their own, create a topic with `partitions` instead of
 * passing that number and `ordering` on.
 */
export interface CreateBusOptions extends BrokerOptions, PartitionOptions {
  /** Unique for each test: letters, digits and dashes. Use it as stream prefix, exchange name or topic prefix. */
  readonly scope: string
  readonly consumerGroup: string
  readonly logger: Logger
}

/** Creates a bus for one test. */
export type CreateBus = (options: CreateBusOptions) => EventBus | Promise<EventBus>

/** Faults that the suite can cause. Tests that need a missing one are skipped. */
export interface BusFaults {
  /** Writes a message without any check, as another producer might. */
  readonly publishRaw?: (scope: string, message: RawMessage) => void | Promise<void>
  /** Deletes the group, the queue or the topic that the consumers of a group need. */
  readonly loseTopology?: (scope: string, consumerGroup: string) => void | Promise<void>
  /** Breaks the existing connections; new ones work. */
  readonly cutConnections?: (scope: string) => void | Promise<void>
  /**
   * Stops the broker, or makes it unreachable, until `startBroker`. Stored messages stay. Tests that only need a broker to
   * which no bus can connect pass `unreachable`: a proxy that refuses connections is faster than a restart.
   */
  readonly stopBroker?: (scope: string, outage: 'stopped' | 'unreachable') => void | Promise<void>
  readonly startBroker?: (scope: string) => void | Promise<void>
  /** Switches the loss of publish confirmations on or off; the events are stored in either case. */
  readonly loseConfirmations?: (scope: string, isLosing: boolean) => void | Promise<void>
  /** Makes the consumer of a bus vanish permanently, as if its process had been killed. */
  readonly crash?: (bus: EventBus) => void | Promise<void>
  /** Time until other consumers take over the messages of a vanished consumer, in milliseconds. Default 0. */
  readonly idleLimitMs?: number
}

/** `describe` and `it` of Vitest, Jest or node:test. */
export interface SuiteRunner {
  readonly describe: (name: string, body: () => void) => unknown
  readonly it: ((name: string, body: () => Promise<void>, timeoutMs?: number) => unknown) & {
    readonly skip: (name: string, body: () => Promise<void>) => unknown
  }
}

/** Options of `describeEventBus`. */
export interface DescribeEventBusOptions {
  readonly runner: SuiteRunner
  /** Creates a bus on the same broker at each call; the suite shuts it down. */
  readonly create: CreateBus
  /** Capabilities that the bus lacks, each with a reason. The names of skipped tests show the reason. */
  readonly lacks?: Partial<Readonly<Record<Capability, string>>>
  readonly faults?: BusFaults
  /**
   * URL of a module that exports `create` ({@link CreateBus}), for the tests that start other processes. Without it,
   * they are skipped.
   */
  readonly module?: string | URL
  /** Texts that no log line, error or inspected bus may contain: the passwords in use. */
  readonly secrets?: readonly string[]
  /**
   * Maximum wait for an expected event or state, in milliseconds. Default 10,000. Increase it for a slow machine; the time in
   * which a call must return grows with it.
   */
  readonly waitMs?: number
  /** Number of buses that compete for the events of 50 publishers. Default 50. */
  readonly competitors?: number
}
