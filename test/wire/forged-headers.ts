import fc from 'fast-check'

/** A header as a producer can write it. */
export type ForgedHeader = readonly [name: string, value: string]

const handlers = fc.constantFrom(
  '[]',
  '["first"]',
  '["nobody"]',
  '["first","second"]',
  '[1,null]',
  '{"handlers":["first"],"settled":["second"]}',
  '{"handlers":["nobody"],"settled":["first","second"]}',
  '{"handlers":[],"settled":["first"]}',
  '{"handlers":"first","settled":7}',
  '{"__proto__":{"handlers":["first"]}}',
)
const count = fc.constantFrom('0', '1', '7', '-1', '1e3', '0x10', '99', '999999999', '99999999999999999999')
const time = fc.constantFrom(
  '2026-01-01T00:00:00+00:00',
  '+275760-09-13T00:00:00Z',
  '0000-00-00',
  'yesterday',
)
const trace = fc.constantFrom(
  '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  '00-00000000000000000000000000000000-0000000000000000-00',
  'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff-more',
)
const baggage = fc.constantFrom('user=root,admin=true', 'a=%zz;p=1', '=,=,=', 'k='.repeat(60))
const text = fc.oneof(
  fc.constantFrom('max_retries_exceeded', 'all', 'some', '1-1', '0-0', 'Error', 'constructor'),
  fc.string({ unit: 'binary', maxLength: 40 }),
)

/** Each header that a bus writes to a dead letter, a replay, an attempt or a message, with values as the bus writes them. */
const values: Readonly<Record<string, fc.Arbitrary<string>>> = {
  replay_handlers: handlers,
  dlq_handlers: handlers,
  dlq_settled_handlers: handlers,
  'x-dlq-handlers': handlers,
  'x-dlq-settled-handlers': handlers,
  settled_handlers: handlers,
  retry_count: count,
  dlq_retry_count: count,
  dlq_attempts: count,
  'x-dlq-attempts': count,
  'x-dlq-retry-count': count,
  'x-retry-count': count,
  'x-delivery-count': count,
  'x-acquired-count': count,
  dlq_original_partition: count,
  dlq_original_offset: count,
  dlq_original_last_offset: count,
  dlq_original_bytes: count,
  dlq_removed_offset: count,
  dlq_timestamp: time,
  dlq_first_failed_at: time,
  'x-replayed-from-dlq': time,
  traceparent: trace,
  tracestate: text,
  baggage,
  dlq_reason: text,
  dlq_error_type: text,
  dlq_error_message: text,
  dlq_error_stack: text,
  dlq_consumer_group: text,
  dlq_original_stream: text,
  dlq_original_topic: text,
  original_message_id: text,
  'x-dlq-kind': text,
  'x-dlq-id': text,
  'x-dlq-consumer-group': text,
  'x-original-routing-key': text,
}

/** A value as it is, or with a character removed, replaced or repeated. */
function mutated(value: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const change = fc.option(fc.tuple(fc.nat(), fc.constantFrom('', '"', '[', '{', '\0', '9', 'ü')), {
    freq: 1,
  })
  return fc.tuple(value, change).map(([whole, changed]) => {
    if (changed === null || whole === '') return whole
    const at = changed[0] % whole.length
    return `${whole.slice(0, at)}${changed[1]}${whole.slice(at + (changed[0] % 3))}`
  })
}

const forgedHeader: fc.Arbitrary<ForgedHeader> = fc
  .constantFrom(...Object.entries(values))
  .chain(([name, value]) => mutated(value).map((written) => [name, written] as const))

/** Up to eight headers that only the library writes, on a message of a producer. None of them may have an effect. */
export const forgedHeaders: fc.Arbitrary<readonly ForgedHeader[]> = fc.array(forgedHeader, {
  minLength: 1,
  maxLength: 8,
})
