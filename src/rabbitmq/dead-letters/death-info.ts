import type { AmqpTable } from '../client/client.ts'

/**
 * The information that RabbitMQ adds when it dead-letters a message itself, because the message expired, its queue was
 * full, or a consumer rejected it. https://www.rabbitmq.com/docs/dlx#effects
 */
export interface RabbitMQDeathInfo {
  /** How often the broker dead-lettered the message, over all queues and reasons. */
  readonly count: number
  readonly firstQueue: string | undefined
  /** `'rejected'`, `'expired'`, `'maxlen'`, `'delivery_limit'`. */
  readonly firstReason: string | undefined
  readonly firstExchange: string | undefined
}

/** @returns undefined if the broker never dead-lettered the message itself. */
export function deathInfoOf(headers: AmqpTable): RabbitMQDeathInfo | undefined {
  const deaths: unknown = headers['x-death']
  if (!Array.isArray(deaths) || deaths.length === 0) return undefined
  return {
    count: deaths.reduce((sum: number, death: unknown) => sum + countOf(death), 0),
    firstQueue: textOf(headers['x-first-death-queue']),
    firstReason: textOf(headers['x-first-death-reason']),
    firstExchange: textOf(headers['x-first-death-exchange']),
  }
}

/** Any client can write such a header, so its content is not trusted. */
function countOf(death: unknown): number {
  if (typeof death !== 'object' || death === null || !('count' in death)) return 0
  const { count } = death
  return typeof count === 'number' && Number.isSafeInteger(count) && count > 0 ? count : 0
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
