import '../node-version.ts'

export type {
  BusFaults,
  CreateBus,
  CreateBusOptions,
  DescribeEventBusOptions,
  SuiteRunner,
} from './conformance/bus-under-test.ts'
export { CAPABILITIES, type Capability } from './conformance/capabilities.ts'
export { describeEventBus } from './conformance/describe-event-bus.ts'
export { buildEvent, type EventFields } from './kit/build-event.ts'
export type { FailOptions } from './kit/faults.ts'
export {
  type AggregateSpecification,
  CommandResult,
  type DeciderSpecification,
  given,
  type Projection,
  type ProjectOptions,
  project,
} from './kit/given.ts'
export { ObservedBuses, type ObserveOptions } from './kit/observed-buses.ts'
export type { HandledEvent, PublishedEvent } from './kit/records.ts'
export { type RegisterHandlers, type ShuffleOptions, TestBus, type TestBusOptions } from './kit/test-bus.ts'
export { TestRun } from './kit/test-run.ts'
export { MemoryBroker, type RawMessage } from './memory-broker.ts'
export { MemoryBrokerEventBus, type MemoryBrokerEventBusOptions } from './memory-broker-event-bus.ts'
export { MemoryTransport } from './memory-transport.ts'
export { describeEventStore } from './store-conformance/describe-event-store.ts'
export { describeInbox, describeOutbox, describeStores } from './store-conformance/describe-stores.ts'
export type {
  DescribeInboxOptions,
  InboxContextUnderTest,
  InboxHandlerUnderTest,
  InboxUnderTest,
} from './store-conformance/inbox-under-test.ts'
export type { PublishedTo, RunningRelay, StartRelay } from './store-conformance/relay-under-test.ts'
export type {
  DescribeEventStoreOptions,
  StoreCapability,
  StoreWriter,
  TransactionOn,
} from './store-conformance/store-under-test.ts'
export { STORE_CAPABILITIES } from './store-conformance/store-under-test.ts'
export type { DescribeStoresOptions } from './store-conformance/stores-under-test.ts'
export { writeForever } from './store-conformance/write-forever.ts'
export { type WaitForOptions, WaitTimeoutError, waitFor } from './wait-for.ts'
