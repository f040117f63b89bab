export { type AppendPlan, planAppend } from './append-rules.ts'
export {
  AmbiguousStreamError,
  DuplicateEventError,
  EventStreamMismatchError,
  OptimisticLockError,
} from './errors.ts'
export type {
  AppendRequest,
  AppendResult,
  EventStore,
  EventStream,
  ExpectedVersion,
  FeedFilter,
  GetEventsOptions,
  ReadAllOptions,
  StoredEvent,
} from './event-store.ts'
export { InMemoryEventStore, type InMemoryEventStoreOptions } from './in-memory-event-store.ts'
export { InMemorySnapshotStore, type Snapshot, type SnapshotStore } from './snapshot-store.ts'
