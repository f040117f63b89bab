import type { BrokerOptions, EventBus } from '../../bus/index.ts'
import type { Logger } from '../../index.ts'
import type { RawMessage } from '../memory-broker.ts'
import type { Capability } from './capabilities.ts'

/** What the suite asks of a bus. An `InMemoryEventBus` takes what it knows; a broker bus passes all on. */
export interface CreateBusOptions extends BrokerOptions {
  /** Fresh for each test: letters, digits and dashes. Stream prefix, exchange or topic prefix. */
  readonly scope: string
  readonly consumerGroup: string
  readonly logger: Logger
}

export type CreateBus = (options: CreateBusOptions) => EventBus | Promise<EventBus>

/** Faults that the suite can bring about. Tests that need an absent one are skipped. */
export interface BusFaults {
  /** Writes a message as another producer might, past every check. */
  readonly publishRaw?: (scope: string, message: RawMessage) => void | Promise<void>
  /** Takes away what the consumers of a group need: the group, the queue, the topic. */
  readonly loseTopology?: (scope: string, consumerGroup: string) => void | Promise<void>
  /** Breaks the connections that there are; new ones work. */
  readonly cutConnections?: (scope: string) => void | Promise<void>
  /** Stops the broker, or makes it unreachable, until `startBroker`; what it has stored stays. */
  readonly stopBroker?: (scope: string) => void | Promise<void>
  readonly startBroker?: (scope: string) => void | Promise<void>
  /** Lets confirmations of publishes get lost, though the events are stored, from now on or no longer. */
  readonly loseConfirmations?: (scope: string, isLosing: boolean) => void | Promise<void>
  /** Makes a bus's consumer vanish without a word, as if its process had been killed, for good. */
  readonly crash?: (bus: EventBus) => void | Promise<void>
  /** How long a vanished consumer's messages rest until somebody else takes them, in milliseconds. Default 0. */
  readonly idleLimitMs?: number
}

/** `describe` and `it` of Vitest, Jest or node:test. */
export interface SuiteRunner {
  readonly describe: (name: string, body: () => void) => unknown
  readonly it: ((name: string, body: () => Promise<void>, timeoutMs?: number) => unknown) & {
    readonly skip: (name: string, body: () => Promise<void>) => unknown
  }
}

export interface DescribeEventBusOptions {
  readonly runner: SuiteRunner
  /** Makes a bus on the same broker for each call; the suite shuts it down. */
  readonly create: CreateBus
  /** What the bus cannot do, and why; the reason stands in the names of the tests that are skipped. */
  readonly lacks?: Partial<Readonly<Record<Capability, string>>>
  readonly faults?: BusFaults
  /**
   * URL of a module that exports `create` ({@link CreateBus}), for the tests with processes of their own. They are
   * skipped without it.
   */
  readonly module?: string | URL
  /** Texts that must show up in no log line, error or inspected bus: the passwords in use. */
  readonly secrets?: readonly string[]
  /**
   * Longest wait for anything that should happen, in milliseconds. Default 10,000. A slower machine needs a longer one,
   * and the times within which a call must return grow with it.
   */
  readonly waitMs?: number
  /** Buses that compete for 50 publishers' events. Default 50. */
  readonly competitors?: number
}
