import type { AmqpMessage } from '../client/client.ts'
import { textHeaders } from '../wire/message.ts'
import { messageIdOf, originalRoutingKey } from './dead-letter-message.ts'
import { deathInfoOf, type RabbitMQDeathInfo } from './death-info.ts'

/** A dead letter as eventsource-py's `get_dlq_messages` returns it. */
export interface RabbitMQDlqMessage {
  readonly messageId: string
  /** Routing key of the dead letter: the name of the group's queue. */
  readonly routingKey: string
  readonly body: Buffer
  readonly headers: Readonly<Record<string, unknown>>
  readonly eventType: string | undefined
  /** Text of the error. */
  readonly dlqReason: string | undefined
  readonly dlqErrorType: string | undefined
  readonly dlqRetryCount: number | undefined
  readonly dlqTimestamp: string | undefined
  readonly originalRoutingKey: string
  /** Set if the broker itself dead-lettered the message, now or earlier. Undefined if only a bus did. */
  readonly death: RabbitMQDeathInfo | undefined
}

export function describeDlqMessage(message: AmqpMessage): RabbitMQDlqMessage {
  const texts = textHeaders(message)
  const { headers = {} } = message.properties
  const retryCount = Number(texts['x-dlq-retry-count'] ?? Number.NaN)
  return {
    messageId: messageIdOf(message),
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
