export {
  type AggregateFactory,
  AggregateRepository,
  type AggregateRepositoryOptions,
  type RetryOnConflictOptions,
} from './aggregate-repository.ts'
export { AggregateRoot } from './aggregate-root.ts'
export { DecidedAggregate, type Decider, decided } from './decider.ts'
export {
  AggregateNotFoundError,
  EventVersionError,
  PublishAfterSaveError,
  UnhandledEventError,
} from './errors.ts'
export {
  type DraftArguments,
  type DraftInput,
  draft,
  type EventDraft,
} from './event-draft.ts'
export { type Evolution, type Evolve, evolution } from './evolution.ts'
export type { InitialState } from './initial-state.ts'
export type { SnapshotOptions } from './snapshot-policy.ts'
