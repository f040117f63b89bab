import { expect, it } from 'vitest'
import type { OperatorAuditEntry } from '../../../src/operator/index.ts'
import { visitor } from '../visitor.ts'
import { letterWith, pageOf } from './hostile-letters.ts'

it('shows a masked value nowhere', async () => {
  const CANARY = 'canary-4711-canary'
  const audited: OperatorAuditEntry[] = []
  await using scene = pageOf({
    mask: { keys: ['token'], paths: ['customerId', 'card.number', 'data.card.number'] },
    audit: (entry) => void audited.push(entry),
  })
  const payload = { customerId: CANARY, card: { number: CANARY, name: 'Anna' }, apiToken: { inner: CANARY } }
  const hidden = letterWith('a', JSON.stringify(payload))
  const fields = {
    ...hidden.fields,
    dlq_error_message: `bad card ${CANARY}`,
    dlq_error_stack: `Error: ${CANARY}\n at x`,
    dlq_consumer_group: 'billing',
    dlq_handlers: '["invoice"]',
  }
  const event = JSON.parse(hidden.body ?? '')
  const own = {
    ...event,
    event_type: 'OrderCreated',
    event_id: '3f2b9c1e-0d4a-4f6e-8b1c-2a7d5e9f0c3b',
    correlation_id: undefined,
    causation_id: undefined,
  }
  const headers = { event_type: 'OrderCreated', 'x-token': CANARY }
  await scene.bus.deadLetters.import(
    JSON.parse(
      JSON.stringify([
        { ...hidden, fields, headers, body: JSON.stringify(own) },
        // An event in an envelope of another kind.
        {
          ...hidden,
          fields,
          headers,
          body: JSON.stringify({
            id: '1',
            type: 'X',
            data: { customerId: CANARY, card: { number: CANARY } },
          }),
        },
      ]),
    ),
  )
  const anna = visitor(scene.handler, 'anna', 'see read operate change')
  const texts: string[] = []
  const look = async (answer: ReturnType<typeof anna.get>) => {
    const { text, status } = await answer
    texts.push(text)
    return { text, status }
  }
  for (const { id } of (await scene.bus.deadLetters.list()).deadLetters) {
    const path = `/orders/dead-letters/${encodeURIComponent(id)}`
    for (const one of [path, `${path}/body`, `${path}/edit`]) await look(anna.get(one))
    for (const card of [
      { number: '••••', name: 'Ben' },
      { number: 7, name: '••••' },
      { number: 'other', name: 'Anna' },
    ]) {
      const edited = JSON.stringify({ customerId: '••••', apiToken: '••••', card })
      await look(anna.post(`${path}/check`, { payload: edited }))
      await look(anna.post(`${path}/edit`, { payload: edited.replace('"••••"', '7') }))
    }
  }
  await look(anna.get('/orders/dead-letters'))
  await look(anna.get('/orders/export/dead-letters'))
  await look(anna.get('/orders/activity'))
  await look(anna.get('/orders/bulk/replay'))

  expect(texts.join('\n')).toContain('••••')
  expect([...texts, JSON.stringify(audited)].filter((text) => text.includes(CANARY))).toEqual([])
  // What was hidden and left as it was is replayed with its value.
  const [letter] = (await scene.bus.deadLetters.list({ filter: { eventType: 'OrderCreated' } })).deadLetters
  const path = `/orders/dead-letters/${encodeURIComponent(letter?.id ?? '')}`
  const ok = await anna.post(`${path}/edit`, {
    payload: JSON.stringify({ customerId: '••••', apiToken: '••••', card: { number: '••••', name: 'Ben' } }),
  })
  expect(ok.text).toContain('Edited card.name')
})
