import type { DomainEvent, ExportedLetter } from '../../src/index.ts'

const ERRORS = ['RangeError', 'TypeError', 'SyntaxError', 'URIError', 'EvalError']

/** Dead letters of five errors, to be imported. @param groupOf - the consumer group of each. */
export function* manyLetters(
  count: number,
  eventOf: (n: number) => DomainEvent,
  groupOf: (n: number) => string,
): Generator<ExportedLetter> {
  for (let n = 0; n < count; n += 1) {
    const event = eventOf(n)
    const error = ERRORS[n % ERRORS.length] ?? ''
    yield {
      version: 1,
      id: '',
      headers: { event_id: event.eventId, event_type: event.eventType, aggregate_id: event.aggregateId },
      body: JSON.stringify(event),
      fields: {
        dlq_reason: 'max_retries_exceeded',
        dlq_error_type: error,
        dlq_error_message: `${error} of order ${n}`,
        dlq_consumer_group: groupOf(n),
        dlq_handlers: '["charge"]',
        dlq_timestamp: new Date(Date.now() - (count - n)).toISOString(),
      },
    }
  }
}
