import type { AmqpTable } from '../client/client.ts'

/**
 * What RabbitMQ noted when it dead-lettered a message itself: one that expired, was in a full queue, or was rejected
 * by a consumer. https://www.rabbitmq.com/docs/dlx#effects
 */
export interface RabbitMQDeathInfo {
  /** How often, over all queues and reasons. */
  readonly count: number
  readonly firstQueue: string | undefined
  /** `'rejected'`, `'expired'`, `'maxlen'`, `'delivery_limit'`. */
  readonly firstReason: string | undefined
  readonly firstExchange: string | undefined
}

/** @returns undefined for a message that the broker never dead-lettered itself. */
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

/** Anybody can write such a header. */
function countOf(death: unknown): number {
  if (typeof death !== 'object' || death === null || !('count' in death)) return 0
  const { count } = death
  return typeof count === 'number' && Number.isSafeInteger(count) && count > 0 ? count : 0
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
