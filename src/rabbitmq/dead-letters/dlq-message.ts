import type { AmqpMessage } from '../client/client.ts'
import { textHeaders } from '../wire/message.ts'
import { letterIdOf, originalRoutingKey } from './dead-letter-message.ts'
import { deathInfoOf, type RabbitMQDeathInfo } from './death-info.ts'

/** A dead letter as eventsource-py's `get_dlq_messages` returns it. */
export interface RabbitMQDlqMessage {
  readonly messageId: string
  /** What it was dead-lettered under: the queue's name. */
  readonly routingKey: string
  readonly body: Buffer
  readonly headers: Readonly<Record<string, unknown>>
  readonly eventType: string | undefined
  /** The error's text. */
  readonly dlqReason: string | undefined
  readonly dlqErrorType: string | undefined
  readonly dlqRetryCount: number | undefined
  readonly dlqTimestamp: string | undefined
  readonly originalRoutingKey: string
  /** Of a message that the broker dead-lettered itself, or once did; undefined for ours and eventsource-py's. */
  readonly death: RabbitMQDeathInfo | undefined
}

export function describeDlqMessage(message: AmqpMessage): RabbitMQDlqMessage {
  const texts = textHeaders(message)
  const { headers = {} } = message.properties
  const retryCount = Number(texts['x-dlq-retry-count'] ?? Number.NaN)
  return {
    messageId: letterIdOf(message),
    routingKey: message.fields.routingKey,
    body: message.content,
    headers,
    eventType: texts['event_type'],
    dlqReason: texts['x-dlq-reason'],
    dlqErrorType: texts['x-dlq-error-type'],
    dlqRetryCount: Number.isSafeInteger(retryCount) ? retryCount : undefined,
    dlqTimestamp: texts['x-dlq-timestamp'],
    originalRoutingKey: originalRoutingKey(message),
    death: deathInfoOf(headers),
  }
}
