export type {
  GroupInfo,
  GroupLoad,
  GroupPartition,
  MessageScan,
  ScannedMessage,
  ScanRequest,
  TransportAdmin,
} from './admin.ts'
export { readReason, writeReason } from './dead-letter-fields.ts'
export {
  ConnectionError,
  HistoryUnavailableError,
  MessageRefusedError,
  PublishTimeoutError,
} from './errors.ts'
export type { BusNotice, BusNoticeListener } from './notices.ts'
export { type ReplayDestination, replayDestination } from './replay-destination.ts'
export {
  type EarlierAttempts,
  REPLAY_HANDLERS,
  type ReplayTarget,
  replayHeader,
  replayTarget,
  waitHeader,
} from './replay-headers.ts'
export { isRecorded } from './settled-handlers.ts'
export type {
  Consumption,
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
