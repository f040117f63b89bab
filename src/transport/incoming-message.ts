import type { EncodedMessage, MessageHeaders } from '../codec/index.ts'

/** A message as the broker delivered it. */
export interface IncomingMessage extends EncodedMessage {
  /** The broker's id of the message, unique within a group: an entry id, a delivery tag, or a partition and offset. */
  readonly id: string
  /** Messages with the same key are handled in order. A message with an undefined key has no order to keep. */
  readonly key: string | undefined
  /** Only the headers that are text. A transport omits malformed headers instead of failing. */
  readonly headers: MessageHeaders
  /** Size of the body and the headers, if it is known without reading them. A character of a text counts as a byte. */
  readonly sizeBytes?: number | undefined
  /** Set if the message exceeds a limit of the transport. Such a message becomes a dead letter. */
  readonly fault?: Error | undefined
}
