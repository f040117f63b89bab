import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { ExportedLetter } from '../../../src/index.ts'
import { EventRegistry } from '../../../src/index.ts'
import { createOperatorHandler, type OperatorAuditEntry } from '../../../src/operator/index.ts'
import { MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import { OrderCreated } from '../../support/order-events.ts'
import { waitFor } from '../../support/wait-for.ts'
import { demoSystem } from '../demo-system.ts'
import { silentLogger } from '../silent-logger.ts'
import { authorizeByHeader, visitor } from '../visitor.ts'

const ALL = 'see read operate change'

async function page(orders = 12) {
  const system = await demoSystem(orders)
  const registry = new EventRegistry()
  registry.register(OrderCreated)
  const bus = new MemoryBrokerEventBus({
    broker: system.broker,
    consumerGroup: 'operator',
    logger: silentLogger,
    registry,
  })
  const audited: OperatorAuditEntry[] = []
  const archived: ExportedLetter[] = []
  const handler = createOperatorHandler({
    buses: { orders: bus },
    authorize: authorizeByHeader,
    audit: (entry) => void audited.push(entry),
    archive: (letters) => void archived.push(...letters),
  })
  const close = async () => {
    await handler.close()
    await bus.shutdown()
    await system.close()
  }
  const as = (name: string, roles = ALL) => visitor(handler, name, roles)
  return { ...system, bus, handler, audited, archived, as, [Symbol.asyncDispose]: close }
}

/** The letter of an aggregate, as its link in the list. */
async function letterOf({ bus }: { readonly bus: MemoryBrokerEventBus }, aggregateId: string) {
  const [letter] = (await bus.deadLetters.list({ filter: { aggregateId } })).deadLetters
  if (letter === undefined) throw new Error(`no dead letter of ${aggregateId}`)
  return { letter, path: `/orders/dead-letters/${encodeURIComponent(letter.id)}` }
}

it('groups dead letters by error, filters them by the line of the command line, and pages through them', async () => {
  await using scene = await page(180)
  const anna = scene.as('anna')

  const list = await anna.get('/orders/dead-letters')
  expect(list.text).toContain('60 dead letters; window: all 60')
  expect(list.text).toContain('TypeError: Cannot read properties of undefined (reading &lt;text&gt;)')
  expect(list.text).toMatch(/<strong><bdi>invoice<\/bdi><\/strong>/)
  expect(list.text.indexOf('Order-177')).toBeLessThan(list.text.indexOf('Order-174'))
  expect(list.text).toContain('50 shown')
  const next = /rel="next" href="([^"]+)"/.exec(list.text)?.[1]?.replaceAll('&amp;', '&') ?? ''
  expect((await anna.get(next)).text).toContain('10 shown')
  const signature =
    /<a href="([^"]+)"><span class="error-text">/.exec(list.text)?.[1]?.replaceAll('&amp;', '&') ?? ''
  expect((await anna.get(signature)).text).toContain('60 dead letters match')

  const one = await anna.get(
    `/orders/dead-letters?filter=${encodeURIComponent('aggregate:Order-9 since:1h')}`,
  )
  expect(one.text).toContain('1 dead letter match')
  expect((await anna.get('/orders/dead-letters?filter=grup:billing')).text).toContain('did you mean group?')
  expect((await anna.get('/orders/dead-letters?filter=group:mails')).text).toContain('No dead letter matches')
})

it('replays one dead letter to the handler that failed alone, and follows it until it was handled', async () => {
  await using scene = await page()
  const anna = scene.as('anna')
  const { path } = await letterOf(scene, 'Order-3')
  const shown = (await anna.get(path)).text
  for (const part of [
    'All retries failed',
    'customer-3',
    'invoice',
    'audit',
    'succeeded',
    'customerId',
    'Stack',
  ]) {
    expect(shown).toContain(part)
  }

  const again = await anna.post(`${path}/replay`, { why: 'OPS-1' })
  const follow = again.location
  await waitFor(async () => (await anna.get(follow)).text.includes('It failed again'))
  scene.repair()
  const { path: second, letter } = await letterOf(scene, 'Order-3')
  expect(letter.replayCount).toBe(1)
  const before = scene.handled.length
  const done = await anna.post(`${second}/replay`)

  expect(done.text).toContain('The dead letter is gone.')
  await waitFor(async () => (await anna.get(done.location)).text.includes('It was handled.'))
  expect(scene.handled.slice(before)).toEqual(['invoice Order-3'])
  expect((await anna.get(second)).status).toBe(404)
  expect((await anna.post(`${second}/replay`)).text).toContain('was replayed or purged meanwhile')
  expect((await anna.get('/orders/dead-letters')).text).toContain('3 dead letters; window')
  expect(scene.audited.map(({ action, state, by, why }) => [action, state, by, why])).toEqual([
    ['deadLetters.replay', 'started', 'anna', 'OPS-1'],
    ['deadLetters.replay', 'done', 'anna', 'OPS-1'],
    ['deadLetters.replay', 'started', 'anna', undefined],
    ['deadLetters.replay', 'done', 'anna', undefined],
    ['deadLetters.replay', 'started', 'anna', undefined],
    ['deadLetters.replay', 'failed', 'anna', undefined],
  ])
  expect((await anna.get('/orders/activity')).text).toContain('anna')
})

it('replays an edited event after the schema has checked it, and shows only what differs', async () => {
  await using scene = await page()
  scene.repair()
  const anna = scene.as('anna')
  const { path, letter } = await letterOf(scene, 'Order-6')

  expect((await anna.get(`${path}/edit`)).text).toContain('{\n  &quot;customerId&quot;: &quot;c-1&quot;\n}')
  const wrong = { payload: '{"customerId": 7}' }
  for (const answer of [await anna.post(`${path}/check`, wrong), await anna.post(`${path}/edit`, wrong)]) {
    expect(answer.text).toMatch(/customerId: .*expected string/)
    expect(answer.text).toContain('not valid')
  }
  expect((await anna.post(`${path}/check`, { payload: '{"customerId": "c-1"}' })).text).toContain(
    'Nothing is changed',
  )
  expect((await anna.post(`${path}/check`, { payload: '{' })).text).toContain('is not JSON')
  const right = await anna.post(`${path}/check`, { payload: '{"customerId": "c-2"}' })
  expect(right.text).toContain('<del>- <bdi>customerId</bdi>: <bdi>&quot;c-1&quot;</bdi></del>')
  expect(right.text).toContain('<ins>+ <bdi>customerId</bdi>: <bdi>&quot;c-2&quot;</bdi></ins>')
  expect(await scene.bus.deadLetters.count()).toBe(4)
  const done = await anna.post(`${path}/edit`, { payload: '{"customerId": "c-2"}', why: 'OPS-2' })

  await waitFor(async () => (await anna.get(done.location)).text.includes('It was handled.'))
  expect(await scene.bus.deadLetters.get(letter.id)).toBeUndefined()
  const end = scene.audited.at(-1)
  expect([end?.action, end?.state, end?.by, end?.why]).toEqual(['deadLetters.edit', 'done', 'anna', 'OPS-2'])
  expect(end?.text).toMatch(/^Edited customerId, and replayed it as event/)
  expect(scene.audited.map(({ state }) => state)).toEqual(['started', 'failed', 'started', 'done'])
})

it('runs a bulk change as a job that everybody sees, that can be cancelled, and that loses nothing', async () => {
  await using scene = await page(60)
  scene.repair()
  const [anna, ben] = [scene.as('anna'), scene.as('ben')]

  const asked = await anna.get('/orders/bulk/replay?filter=group:billing')
  expect(asked.text).toContain('Replay 20 dead letters')
  expect(asked.text).toMatch(/20 dead letters go to group .*billing.*handler .*invoice.*, and to nobody else/)
  const fields = { filter: 'group:billing', expected: '20' }
  const dry = await anna.post('/orders/bulk/replay', { ...fields, dryRun: 'on' })
  await waitFor(async () => (await anna.get(dry.location)).text.includes('20 dead letters would be replayed'))
  expect(await scene.bus.deadLetters.count()).toBe(20)

  const slow = await anna.post('/orders/bulk/replay', { ...fields, rate: '2/s', why: 'OPS-3' })
  await waitFor(async () => /replayed [1-9] of 20/.test((await ben.get(slow.location)).text))
  expect((await ben.get('/orders/dead-letters')).text).toMatch(/Replay of .*group:billing/)
  const [path = ''] = slow.location.split('?')
  expect((await scene.as('carl', 'see').post(`${path}/cancel`)).status).toBe(403)
  await ben.post(`${path}/cancel`)
  await waitFor(async () => (await anna.get(path)).text.includes('cancelled'))
  const left = await scene.bus.deadLetters.count()
  const ran = () => scene.handled.filter((line) => line.startsWith('invoice')).length - 60
  await waitFor(() => ran() === 20 - left)
  expect((await anna.get(path)).text).toContain('by <bdi>ben</bdi>')

  const rest = await anna.post('/orders/bulk/replay', { filter: '', expected: String(left) })
  await waitFor(async () => (await anna.get(rest.location)).text.includes(`replayed ${left} dead letter`))
  await waitFor(() => ran() === 20)
  expect(await scene.bus.deadLetters.count()).toBe(0)
  await waitFor(() => scene.audited.some(({ text }) => text === `The job has replayed ${left}.`))
  expect((await anna.post(`${path}/cancel`)).status).toBe(409)
})

it('purges and archives after a count, and exports', async () => {
  await using scene = await page(60)
  const anna = scene.as('anna')
  const exported = await anna.get(
    `/orders/export/dead-letters?filter=${encodeURIComponent('aggregate:Order-0')}`,
  )
  expect(exported.headers.get('content-type')).toBe('application/octet-stream')
  expect(exported.text.trim().split('\n')).toHaveLength(1)

  const few = { filter: 'aggregate:Order-0', expected: '1' }
  expect((await anna.get('/orders/bulk/archive?filter=aggregate:Order-0')).text).toContain(
    'after copies are stored',
  )
  const archive = await anna.post('/orders/bulk/archive', few)
  await waitFor(async () => (await anna.get(archive.location)).text.includes('archived 1 dead letter'))
  expect(scene.archived.map((letter) => JSON.parse(letter.body ?? '').aggregate_id)).toEqual(['Order-0'])

  expect((await anna.post('/orders/bulk/purge', { filter: '', expected: '19' })).status).toBe(400)
  const purge = await anna.post('/orders/bulk/purge', { filter: '', expected: '7', why: 'OPS-4' })
  await waitFor(async () => (await anna.get(purge.location)).text.includes('purged 7 dead letters'))
  expect(await scene.bus.deadLetters.count()).toBe(12)
  const { path } = await letterOf(scene, 'Order-57')
  expect((await anna.post(`${path}/purge`)).status).toBe(400)
  expect((await anna.post(`${path}/purge`, { why: 'OPS-5' })).text).toContain(
    'Purged the dead letter of OrderCreated Order-57',
  )
  expect((await anna.post('/orders/bulk/replay', { filter: '' })).text).toContain('not confirmed')
})

it('shows each viewer only what the roles allow, and refuses the rest', async () => {
  await using scene = await page()
  const { letter, path } = await letterOf(scene, 'Order-3')
  const bulk = '/orders/bulk'
  const reads = [
    '/orders/dead-letters',
    path,
    `${path}/body`,
    `${path}/edit`,
    `${bulk}/replay`,
    `${bulk}/purge`,
  ]
  // Nothing is changed: these forms are not complete.
  const changes = [`${path}/purge`, `${path}/edit`, `${path}/check`, `${bulk}/replay`, `${bulk}/purge`]
  const [no, ok, form] = [403, 200, 'form']
  const table: Record<string, readonly [get: readonly unknown[], post: readonly unknown[]]> = {
    '': [
      [no, no, no, no, no, no],
      [no, no, no, no, no],
    ],
    see: [
      [ok, ok, no, no, no, no],
      [no, no, no, no, no],
    ],
    'see read': [
      [ok, ok, ok, no, no, no],
      [no, no, no, no, no],
    ],
    'see operate': [
      [ok, ok, no, no, ok, no],
      [no, no, no, form, no],
    ],
    'see change': [
      [ok, ok, no, no, no, ok],
      [form, no, no, no, form],
    ],
    'see read change': [
      [ok, ok, ok, ok, no, ok],
      [form, form, form, no, form],
    ],
  }
  for (const [roles, expected] of Object.entries(table)) {
    const viewer = scene.as('carl', roles)
    const found: [unknown[], unknown[]] = [[], []]
    for (const one of reads) found[0].push((await viewer.get(one)).status)
    for (const one of changes) {
      const { status } = await viewer.post(one, { expected: '0' })
      found[1].push(status === no ? no : form)
    }
    expect([roles, found]).toEqual([roles, expected])
  }
  expect((await scene.as('carl', 'see read change').post(`${path}/replay`)).status).toBe(403)
  const seen = await scene.as('carl', 'see').get(path)
  expect(seen.text).not.toMatch(/customerId|<form method="post"/)
  expect(scene.audited.filter(({ state }) => state === 'refused').length).toBeGreaterThan(15)
  expect(await scene.bus.deadLetters.get(letter.id)).toBeDefined()
})

it('answers each filter line with a page, and reads no more than a page may', async () => {
  await using scene = await page(3)
  const anna = scene.as('anna')
  const words = [
    'group:',
    'since:',
    'text:',
    'signature:',
    '"',
    '""',
    ' ',
    'billing',
    '2h',
    '.*',
    '(a+)+$',
    '\u0024{7*7}',
    '\u202e',
  ]
  const line = fc
    .array(fc.oneof(fc.constantFrom(...words), fc.string({ unit: 'binary', maxLength: 8 })), { maxLength: 8 })
    .map((pieces) => pieces.join(''))
  await fc.assert(
    fc.asyncProperty(line, async (given) => {
      const { status } = await anna.get(`/orders/dead-letters?${new URLSearchParams({ filter: given })}`)
      expect([200, 400]).toContain(status)
    }),
    { numRuns: 25 },
  )
})
