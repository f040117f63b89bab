import { describe, expect, it } from 'vitest'
import { canOnlyHave } from '../../src/codec/type-field.ts'
import { CloudEventsCodec, type EventCodec, JsonCodec } from '../../src/index.ts'
import { orderCreated } from '../support/order-events.ts'

const BODIES: readonly (readonly [what: string, body: string, isCertain: boolean])[] = [
  ['the same type', '{"event_id":"1","event_type":"Other","n":1}', true],
  ['the same type with white space', '{ "event_type" \t:\r\n "Other" }', true],
  ['the same type in a nested object, too', '{"event_type":"Other","a":{"event_type":"Other"}}', true],
  ['no type', '{"n":1}', true],
  ['no JSON', 'no JSON', true],
  ['another type', '{"event_type":"Order"}', false],
  ['another type behind the same one', '{"event_type":"Other","event_type":"Order"}', false],
  ['a type that only begins the same way', '{"event_type":"Others"}', false],
  ['an escaped name', String.raw`{"event_type":"Other","event\u005ftype":"Order"}`, false],
  ['an escaped value', String.raw`{"event_type":"Othe\u0072"}`, false],
  ['the name as a value', '{"event_type":"Other","a":"event_type"}', false],
  ['the name without a colon at the end', '{"a":"event_type"', false],
]

describe.each([
  ['text', (body: string) => body],
  ['bytes', (body: string) => Buffer.from(body)],
])('as %s, a body', (_what, asBody) => {
  it.each(BODIES)('with %s', (_name, body, isCertain) => {
    expect(canOnlyHave(asBody(body), 'event_type', 'Other')).toBe(isCertain)
  })
})

it('is never certain about a text that JSON.parse reads as another type', () => {
  const names = ['"event_type"', '"event\\u005ftype"', '"x"']
  const values = ['"Other"', '"Order"', '"\\u004fther"', '1', '{"event_type":"Other"}']
  for (const [a, b] of pairs(names)) {
    for (const [x, y] of pairs(values)) {
      const body = `{${a}:${x},${b}: ${y}}`
      const type: unknown = JSON.parse(body).event_type
      if (canOnlyHave(body, 'event_type', 'Other')) expect([undefined, 'Other']).toContain(type)
    }
  }
})

function pairs(items: readonly string[]): readonly (readonly [string, string])[] {
  return items.flatMap((first) => items.map((second) => [first, second] as const))
}

it.each<EventCodec>([new JsonCodec(), new CloudEventsCodec({ source: '/orders' })])(
  'recognizes an event that $contentType encoded',
  (codec) => {
    const message = codec.encode(orderCreated())

    expect(codec.canOnlyBe?.(message, 'OrderCreated')).toBe(true)
    expect(codec.canOnlyBe?.(message, 'OrderShipped')).toBe(false)
  },
)
