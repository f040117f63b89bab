export { CloudEventsCodec, type CloudEventsCodecOptions } from './cloud-events-codec.ts'
export { DecodeError, type DecodeReason, type NewerEvent } from './decode-error.ts'
export type {
  EncodedEvent,
  EncodedMessage,
  EventClassLookup,
  EventCodec,
  MessageHeaders,
} from './event-codec.ts'
export { EventLimitError } from './event-limit-error.ts'
export type { BodyLimits } from './hostile-json.ts'
export { JsonCodec, type JsonCodecOptions } from './json-codec.ts'
