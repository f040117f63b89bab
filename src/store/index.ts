export {
  type AppendDecision,
  type AppendIds,
  type AppendRefusal,
  decideAppend,
  type KnownEvent,
  type StreamState,
} from './append-decision.ts'
export { type AppendPlan, appendRefusal, checkAppend, planAppend } from './append-rules.ts'
export {
  AmbiguousStreamError,
  DuplicateEventError,
  EventStreamMismatchError,
  OptimisticLockError,
  StoreClosedError,
  StoredEventError,
  StoreFullError,
  StoreOutcomeUnknownError,
  StoreReadOnlyError,
  StoreSchemaError,
  StoreUnavailableError,
  StreamDeletedError,
  TransactionBypassError,
  TransactionRequiredError,
} from './errors.ts'
export { EventBrowser } from './event-browser.ts'
export {
  type AppendRequest,
  type AppendResult,
  type EventFeed,
  type EventStore,
  type EventStoreHealth,
  type EventStream,
  type ExpectedVersion,
  type FeedFilter,
  type FeedPage,
  type GetEventsOptions,
  type HeldBack,
  type ReadAllOptions,
  STREAM_DELETED,
  type StoredEvent,
  type StreamName,
  type StreamStore,
} from './event-store.ts'
export { InMemoryEventStore, type InMemoryEventStoreOptions } from './in-memory-event-store.ts'
export { InMemorySnapshotStore, type Snapshot, type SnapshotStore } from './snapshot-store.ts'
