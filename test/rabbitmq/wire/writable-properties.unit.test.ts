import { expect, it } from 'vitest'
import { writableProperties, writableTable } from '../../../src/rabbitmq/wire/writable-properties.ts'

it.each([
  ['characters of one byte', 'a'.repeat(300), 'a'.repeat(255)],
  ['characters of three bytes', '\ufffd'.repeat(86), '\ufffd'.repeat(85)],
  ['a surrogate pair at the limit', `${'\ufffd'.repeat(84)}😀 and more`, '\ufffd'.repeat(84)],
  ['a surrogate pair that fits', `${'a'.repeat(251)}😀 and more`, `${'a'.repeat(251)}😀`],
])('shortens a text at the last character that fits: %s', (_, text, kept) => {
  const properties = writableProperties({ replyTo: text, headers: { [text]: 1 } })
  expect(properties.replyTo).toBe(kept)
  expect(Object.keys(properties.headers ?? {})).toEqual([kept])
  expect(writableTable({ nested: { [text]: 1 } })).toEqual({ nested: { [kept]: 1 } })
})
