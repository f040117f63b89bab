export type {
  EventPlace,
  GroupInfo,
  GroupLoad,
  GroupPartition,
  MessageScan,
  ScannedMessage,
  ScanRequest,
  SeekOutcome,
  TransportAdmin,
} from './admin.ts'
export type { Check, Problem, TransportCheckup } from './checkup.ts'
export type { GroupControlStore, GroupPause } from './control.ts'
export {
  type ReplayHistory,
  readReason,
  readReplays,
  writeImported,
  writeReason,
  writeReplay,
} from './dead-letter-fields.ts'
export type { SweepOptions, SweepReport, SweepVerdict } from './dead-letter-store.ts'
export {
  ConnectionError,
  HistoryUnavailableError,
  MessageRefusedError,
  PublishTimeoutError,
} from './errors.ts'
export type { GroupProgress, HandlerWait } from './group-progress.ts'
export type { BusNotice, BusNoticeListener } from './notices.ts'
export type { PresenceRecord, PresenceReport, PresenceStore } from './presence.ts'
export type { RateStore } from './rates.ts'
export { type ReplayDestination, replayDestination } from './replay-destination.ts'
export {
  type EarlierAttempts,
  placesOf,
  REPLAY_HANDLERS,
  type ReplayTarget,
  replayHeader,
  replayTarget,
  waitHeader,
} from './replay-headers.ts'
export { isRecorded } from './settled-handlers.ts'
export { type ActionOutcome, type SweepAction, SweepRun, type SweptLetter } from './sweep.ts'
export type {
  Consumption,
  DeadLetterListing,
  DeadLetterPage,
  DeadLetterReason,
  DeadLetterStore,
  Delivery,
  GroupTypeStore,
  IncomingMessage,
  Intake,
  OutgoingMessage,
  PublishFailure,
  ReplayRequest,
  StoredDeadLetter,
  Transport,
  TransportHost,
} from './transport.ts'
export type { Wait, WaitingStore } from './waiting.ts'
