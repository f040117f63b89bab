import { EventRegistry, type ExportedLetter } from '../../../src/index.ts'
import { createOperatorHandler } from '../../../src/operator/index.ts'
import { MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import { OrderCreated } from '../../support/order-events.ts'
import { silentLogger } from '../silent-logger.ts'
import { authorizeByHeader } from '../visitor.ts'

/** A dead letter with a text in every place where one can be. */
export function letterWith(
  text: string,
  payload: string = JSON.stringify({ text, [text]: text }),
): ExportedLetter {
  const event = {
    ...{ event_id: text, event_type: text, event_version: 1, occurred_at: new Date().toISOString() },
    ...{
      aggregate_id: text,
      aggregate_type: text,
      aggregate_version: 1,
      correlation_id: text,
      causation_id: text,
    },
    metadata: {},
  }
  const body = `${JSON.stringify(event).slice(0, -1)},${payload.slice(1)}`
  const header = text.toWellFormed() || 'x'
  const fields = {
    ...{
      dlq_reason: 'max_retries_exceeded',
      dlq_error_type: text,
      dlq_error_message: text,
      dlq_error_stack: text,
    },
    ...{ dlq_consumer_group: text, dlq_handlers: JSON.stringify([text]), dlq_retry_count: '4' },
    dlq_timestamp: new Date().toISOString(),
  }
  return {
    version: 1,
    id: '',
    headers: { event_id: header, event_type: header, [header]: header },
    body,
    fields,
    source: text,
  }
}

/** Payloads that are too large, too deep, or strange. */
export const LARGE: readonly string[] = [
  JSON.stringify({ long: 'x'.repeat(1_000_000) }),
  `{"deep":${'['.repeat(10_000)}${']'.repeat(10_000)}}`,
  `{"deep":${'{"a":'.repeat(60)}1${'}'.repeat(60)}}`,
  JSON.stringify(Object.fromEntries(Array.from({ length: 9900 }, (_, n) => [`key-${n}`, n]))),
  '{"__proto__":{"polluted":true},"constructor":{"prototype":1}}',
  '{"big":123456789012345678901234567890,"list":[[],{},null,true,-0.5e10]}',
]

/** The page of a bus that has dead letters only. */
export function pageOf(options: Partial<Parameters<typeof createOperatorHandler>[0]> = {}) {
  const registry = new EventRegistry()
  registry.register(OrderCreated)
  const bus = new MemoryBrokerEventBus({ consumerGroup: 'page', logger: silentLogger, registry })
  const handler = createOperatorHandler({ buses: { orders: bus }, authorize: authorizeByHeader, ...options })
  return {
    bus,
    handler,
    [Symbol.asyncDispose]: async () => {
      await handler.close()
      await bus.shutdown()
    },
  }
}
