import { expect, it } from 'vitest'
import { EventRegistry, type ExportedLetter } from '../../../src/index.ts'
import {
  createOperatorHandler,
  type OperatorAuditEntry,
  operatorListener,
} from '../../../src/operator/index.ts'
import { MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import { OrderCreated } from '../../support/order-events.ts'
import { sidewaysScroll, useBrowser } from '../browser.ts'
import { serve } from '../serve.ts'
import { silentLogger } from '../silent-logger.ts'
import { authorizeByHeader, visitor } from '../visitor.ts'

const browser = useBrowser()

const HOSTILE: readonly string[] = [
  '<script>alert(1)</script>',
  '</script><script>alert(2)</script>',
  '"><img src=x onerror=alert(3)>',
  "'><svg onload=alert(4)>",
  '<!--',
  ']]>',
  '<plaintext>',
  '<base href="http://elsewhere.example/">',
  '<meta http-equiv=refresh content="0;url=http://elsewhere.example">',
  'javascript:alert(5)',
  'http://elsewhere.example/x.png',
  '{{7*7}}',
  '\u0024{7*7}',
  '`\u0024{alert(6)}`',
  '%00%3Cscript%3E',
  '\u202eevil\u202c',
  '\u2067rtl\u2069',
  '\u200f\u200e',
  'a\u0000b',
  '\ud800',
  '\udc00x',
  '\ufeffbom',
  '\u0007\u001b[31m',
  'line\u2028break',
  '\r\nset-cookie: a=b',
  '../../etc/passwd',
  '?filter=a&b=c#d',
  '100%',
  '&lt;b&gt;',
  '__proto__',
  'constructor',
  'ع'.repeat(300),
  'W'.repeat(5000),
  '👩‍👩‍👧‍👦'.repeat(50),
  ' '.repeat(20),
  '|'.repeat(2000),
]

/** A dead letter with a text in every place where one can be. */
function letterWith(text: string, payload: string = JSON.stringify({ text, [text]: text })): ExportedLetter {
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

const LARGE: readonly string[] = [
  JSON.stringify({ long: 'x'.repeat(1_000_000) }),
  `{"deep":${'['.repeat(10_000)}${']'.repeat(10_000)}}`,
  `{"deep":${'{"a":'.repeat(60)}1${'}'.repeat(60)}}`,
  JSON.stringify(Object.fromEntries(Array.from({ length: 9900 }, (_, n) => [`key-${n}`, n]))),
  '{"__proto__":{"polluted":true},"constructor":{"prototype":1}}',
  '{"big":123456789012345678901234567890,"list":[[],{},null,true,-0.5e10]}',
]

function pageOf(options: Partial<Parameters<typeof createOperatorHandler>[0]> = {}) {
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

it('shows hostile texts as texts', async () => {
  await using scene = pageOf({
    authorize: () => ({ name: '<b>anna', roles: ['see', 'read', 'operate', 'change'] }),
  })
  await using server = await serve(operatorListener(scene.handler))
  await scene.bus.deadLetters.import(
    [
      ...HOSTILE.map((text) => letterWith(text)),
      ...LARGE.map((payload, n) => letterWith(`large-${n}`, payload)),
      {
        ...letterWith('bytes'),
        body: undefined,
        bodyBase64: Buffer.from([0, 255, 60, 115, 62, 200]).toString('base64'),
      },
    ].map((letter) => JSON.parse(JSON.stringify(letter))),
  )
  const page = await browser.open({
    ...{ baseURL: server.url, viewport: { width: 390, height: 800 }, expected: /status of 4/ },
  })
  await page.goto('/orders/dead-letters')
  await page.getByText('43 dead letters; window').waitFor()
  expect(await sidewaysScroll(page)).toBeLessThanOrEqual(0)

  const { deadLetters } = await scene.bus.deadLetters.list()
  for (const { id, errorMessage = '' } of deadLetters) {
    const path = `/orders/dead-letters/${encodeURIComponent(id)}`
    const response = await page.goto(path)
    expect([errorMessage.slice(0, 40), response?.status()]).toEqual([errorMessage.slice(0, 40), 200])
    expect(await sidewaysScroll(page)).toBeLessThanOrEqual(0)
    expect(await page.evaluate<number>(`document.querySelectorAll('*').length`)).toBeLessThan(3000)
    expect(
      await page.evaluate<string>(
        `document.querySelector('script:not([src]), base, img, svg:not(.brand svg, .spark), iframe')?.outerHTML ?? ''`,
      ),
    ).toBe('')
    expect([200, 409]).toContain((await fetch(`${server.url}${path}/edit`)).status)
    const filter = new URLSearchParams({
      filter: `text:"${errorMessage.toWellFormed().replaceAll('"', '""')}"`,
    })
    if (errorMessage !== '')
      expect((await fetch(`${server.url}/orders/dead-letters?${filter}`)).status).toBeLessThan(500)
  }
  const script = deadLetters.find(({ errorMessage }) => errorMessage === HOSTILE[0])
  await page.goto(`/orders/dead-letters/${encodeURIComponent(script?.id ?? '')}`)
  expect(await page.locator('h1').textContent()).toContain('<script>alert(1)</script>')
  const body = await fetch(`${server.url}/orders/dead-letters/${encodeURIComponent(script?.id ?? '')}/body`)
  expect(body.headers.get('content-type')).toBe('application/octet-stream')
  expect(body.headers.get('content-disposition')).toMatch(/^attachment/)
  expect(await body.text()).toBe(Buffer.from(script?.body ?? []).toString())
  expect(Reflect.get(Object.prototype, 'polluted')).toBeUndefined()
  await page.context().close()
})

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
