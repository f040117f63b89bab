import { describe, expect, test } from 'vitest'
import { defineEvent } from '../../src/index.ts'
import { MASK, Masker } from '../../src/operator/mask.ts'
import { maskedBody } from '../../src/operator/masked-body.ts'

describe('masking', () => {
  test('hides values by the names of their fields, and by paths, at any depth', () => {
    const mask = new Masker({ paths: ['card.*', 'lines.*.price', 'note'] })
    const { value, hidden } = mask.payload({
      customer: 'c-1',
      note: 'canary-1',
      card: { number: 4_111_111_111, holder: { name: 'canary-2' } },
      lines: [{ name: 'pen', price: 12_345 }],
      login: { userPassword: 'canary-3', API_TOKEN: ['canary-4', { deep: 'canary-5' }] },
      iban: null,
    })
    expect(value).toEqual({
      customer: 'c-1',
      note: MASK,
      card: { number: MASK, holder: MASK },
      lines: [{ name: 'pen', price: MASK }],
      login: { userPassword: MASK, API_TOKEN: MASK },
      iban: MASK,
    })
    const error = 'expected number, got "canary-2"; canary-3 and canary-5 and 4111111111 and 12345 in c-1'
    expect(mask.text(error, hidden)).toBe(
      `expected number, got "${MASK}"; ${MASK} and ${MASK} and ${MASK} and ${MASK} in c-1`,
    )
  })

  test('hides headers by their names, and credentials in any text', () => {
    const mask = new Masker()
    expect(
      mask.headers({ Authorization: 'Bearer x', event_type: 'OrderCreated', 'x-api-token': 'y' }),
    ).toEqual({
      Authorization: MASK,
      event_type: 'OrderCreated',
      'x-api-token': MASK,
    })
    expect(mask.text('amqp://user:canary@host failed')).not.toContain('canary')
    expect(mask.payload('redis://:canary@host').value).not.toContain('canary')
  })

  test('hides what an event marks as sensitive: in events of its type and its aliases, and in those of an unknown type', () => {
    defineEvent<{ chip: { code: string; owner: string }; rows: { cost: number }[]; name: string }>()({
      ...{ type: 'Marked', aggregateType: 'Mark', typeAliases: ['mark.old'] },
      sensitive: ['chip.code', 'rows.*.cost'],
    })
    const mask = new Masker({ keys: [] })
    const payload = { chip: { code: '4111', owner: 'A' }, rows: [{ cost: 4711 }], name: 'B' }
    const hidden = { chip: { code: MASK, owner: 'A' }, rows: [{ cost: MASK }], name: 'B' }
    for (const type of ['Marked', 'mark.old', undefined])
      expect(mask.payload(payload, type)).toMatchObject({
        value: hidden,
        hidden: ['4111', '4711'],
        hidesField: true,
      })
    // No class of this process has the type.
    expect(mask.payload(payload, 'Foreign').value).toEqual(hidden)
    defineEvent<{ name: string }>()({ type: 'Unmarked', aggregateType: 'Mark' })
    expect(mask.payload(payload, 'Unmarked').value).toEqual(payload)
    for (const body of [
      { event_type: 'Marked', ...payload },
      { type: 'mark.old', data: payload },
    ]) {
      const text = Buffer.from(maskedBody(Buffer.from(JSON.stringify(body)), mask)).toString('utf8')
      expect(text).not.toMatch(/4111|4711/)
      expect(text).toContain('"owner":"A"')
    }
  })

  test('definitions of one type add their marks, and hide nothing of other types', () => {
    for (const sensitive of [['first'], ['second']] as const)
      defineEvent<{ first: string; second: string }>()({
        type: 'Twice',
        aggregateType: 'Mark',
        sensitive: [...sensitive],
      })
    defineEvent<{ first: string; second: string }>()({
      type: 'Once',
      aggregateType: 'Mark',
      sensitive: ['second'],
    })
    const mask = new Masker({ keys: [] })
    const payload = { first: 'a', second: 'b' }
    expect(mask.payload(payload, 'Twice').value).toEqual({ first: MASK, second: MASK })
    expect(mask.payload(payload, 'Once').value).toEqual({ first: 'a', second: MASK })
  })

  test('a body that cannot be decoded is not shown if it names a field that is hidden', () => {
    const mask = new Masker({ paths: ['card.number', 'lines.*'] })
    const shown = (text: string) => Buffer.from(maskedBody(Buffer.from(text), mask)).toString('utf8')
    for (const text of ['{"card": {"number": "4111', "{'apiToken': 'x', ", '{"lines" : ["canary"'])
      expect(shown(text)).toBe(MASK)
    for (const text of ['{"name": "Ada"', 'number 7 of the passengers', '<xml/>'])
      expect(shown(text)).toBe(text)
  })

  test('a body is downloaded bit for bit, unless it has something to hide: also a short value, a password of a URL, or a deep one', () => {
    const mask = new Masker({ keys: ['pin'] })
    const shown = (text: string) => Buffer.from(maskedBody(Buffer.from(text), mask)).toString('utf8')
    for (const text of ['{"a": 1, "n": 123456789012345678901}', 'no JSON', '[1, {"deep": []}]'])
      expect(shown(text)).toBe(text)
    expect(shown('{"pin": 12}')).toBe(`{"pin":"${MASK}"}`)
    expect(shown('{"id": "1", "data": {"hasPin": true}}')).toBe(`{"id":"1","data":{"hasPin":"${MASK}"}}`)
    expect(shown('{"url": "redis://ada:canary@host"}')).not.toContain('canary')
    expect(shown(`${'{"a":'.repeat(60)}{"pin":"canary"}${'}'.repeat(60)}`)).not.toContain('canary')
  })

  test('own keys replace the defaults, and no payload is too deep or too strange', () => {
    const mask = new Masker({ keys: ['Card'] })
    const strange = JSON.parse(
      '{"__proto__": {"card": 1}, "constructor": {"prototype": 2}, "password": "shown"}',
    )
    const { value } = mask.payload(strange)
    expect(JSON.stringify(value)).toBe(
      `{"__proto__":{"card":"${MASK}"},"constructor":{"prototype":2},"password":"shown"}`,
    )
    let deep: unknown = 'canary'
    for (let depth = 0; depth < 10_000; depth += 1) deep = { deep }
    expect(JSON.stringify(mask.payload(deep).value)).not.toContain('canary')
    expect(mask.payload(undefined)).toMatchObject({ value: undefined, hidden: [], isChanged: false })
  })
})
