import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors.ts'
import { readForm } from '../../src/operator/guards.ts'
import { createOperatorHandler, type OperatorAuditEntry, type Verb } from '../../src/operator/index.ts'
import { routes } from '../../src/operator/pages/index.ts'
import { demoSystem } from './demo-system.ts'
import { formTo } from './requests.ts'
import { silentLogger } from './silent-logger.ts'

const HOME = 'http://localhost/orders'
const ALL: readonly Verb[] = ['see', 'read', 'operate', 'change']

let system: Awaited<ReturnType<typeof demoSystem>>
beforeAll(async () => {
  system = await demoSystem(6)
})
afterAll(() => system.close())

function handlerFor(
  roles: readonly Verb[] | ((place: { group: string | undefined }) => readonly Verb[]),
  more = {},
) {
  return createOperatorHandler({
    buses: { orders: system.bus },
    authorize: () => ({ name: 'anna', roles }),
    logger: silentLogger,
    ...more,
  })
}

const pausedBy = async () => (await system.bus.admin.group('mails')).paused?.by

test('a page without authorize, without a bus or with a wrong option is refused with all faults', () => {
  // @ts-expect-error: without `authorize` it must not compile
  const create = () => createOperatorHandler({ buses: { orders: system.bus } })
  expect(create).toThrow(ConfigError)
  expect(create).toThrow(/authorize is required/)
  const wrong = {
    buses: {},
    authorize: () => ({ name: 'a', roles: [] }),
    hosts: [],
    basePath: 'ops',
    mask: { key: ['a'] },
  }
  // A program without types may pass it.
  expect(() => createOperatorHandler(wrong as never)).toThrow(/hosts.*basePath|basePath.*hosts|mask/)
  expect(() => createOperatorHandler({ buses: {}, authorize: wrong.authorize })).toThrow(/at least one bus/)
})

describe('roles', () => {
  const paramsOf = (path: string) =>
    path.replace(':bus', 'orders').replace(':group', 'billing').replaceAll(/:\w+/g, 'none')

  test('every route answers 403 exactly for the viewers who lack one of its verbs, and for all of them without see', async () => {
    const granted: readonly (readonly Verb[])[] = [
      [],
      ['see'],
      ['see', 'read'],
      ['see', 'operate'],
      ['see', 'change'],
      ['read', 'operate', 'change'],
      ALL,
    ]
    const wrong: string[] = []
    for (const roles of granted) {
      await using handler = handlerFor(roles)
      for (const { method, path, verb } of routes) {
        const url = `http://localhost${paramsOf(path)}`
        // Nothing that these forms name exists, so nothing is changed by those that are allowed.
        const form = { name: 'other', to: 'nowhere' }
        const request = method === 'GET' ? new Request(url) : formTo(url.replace('billing', 'nobody'), form)
        const answer = await handler(request)
        await answer.body?.cancel()
        const needed = path === '/' ? ['see'] : ['see', ...(typeof verb === 'string' ? [verb] : verb)]
        const isAllowed = needed.every((one) => roles.some((role) => role === one))
        if ((answer.status === 403) === isAllowed)
          wrong.push(`${roles.join()} ${method} ${path}: ${answer.status}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('a viewer without a verb sees no form of it, and a form that is sent by hand changes nothing and is recorded', async () => {
    const entries: OperatorAuditEntry[] = []
    await using handler = handlerFor(['see'], {
      audit: (entry: OperatorAuditEntry) => void entries.push(entry),
    })
    const page = await (await handler(new Request(`${HOME}/groups/mails`))).text()
    expect(page).not.toContain('method="post"')
    const answer = await handler(formTo(`${HOME}/groups/mails/pause`, { why: 'test' }))
    expect(answer.status).toBe(403)
    expect(await pausedBy()).toBeUndefined()
    expect(entries).toMatchObject([
      {
        action: 'groups.pause',
        state: 'refused',
        by: 'anna',
        why: 'test',
        bus: 'orders',
        target: { group: 'mails' },
      },
    ])
  })

  test('roles can differ for each group: other groups are not listed, and cannot be changed', async () => {
    await using handler = handlerFor(({ group }) => (group === undefined || group === 'mails' ? ALL : []))
    const page = await (await handler(new Request(HOME))).text()
    expect(page).toContain('mails')
    expect(page).not.toContain('billing')
    expect((await handler(new Request(`${HOME}/groups/billing`))).status).toBe(403)
    expect((await handler(formTo(`${HOME}/groups/billing/pause`, { why: 'x' }))).status).toBe(403)
  })

  test('what authorize answers is answered, with the headers of the page', async () => {
    await using handler = createOperatorHandler({
      buses: { orders: system.bus },
      authorize: () => new Response('Log in.', { status: 401, headers: { 'www-authenticate': 'Basic' } }),
    })
    const answer = await handler(new Request(HOME))
    expect(answer.status).toBe(401)
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(answer.headers.get('www-authenticate')).toBe('Basic')
  })
})

describe('requests of other sites', () => {
  test.each([
    ['of another site', { 'sec-fetch-site': 'cross-site' }],
    ['of a sister host', { 'sec-fetch-site': 'same-site' }],
    ['that was typed', { 'sec-fetch-site': 'none' }],
    [
      'with another origin and without Sec-Fetch-Site',
      { 'sec-fetch-site': undefined, origin: 'http://evil.example' },
    ],
    ['with an origin of another port', { 'sec-fetch-site': undefined, origin: 'http://localhost:81' }],
    ['with the origin null', { 'sec-fetch-site': undefined, origin: 'null' }],
    ['without Origin and Sec-Fetch-Site', { 'sec-fetch-site': undefined }],
    ['that is plain text', { 'content-type': 'text/plain' }],
    ['that is JSON', { 'content-type': 'application/json' }],
    ['with files', { 'content-type': 'multipart/form-data; boundary=x' }],
  ])('a form %s is refused, and nothing is changed', async (_name, headers) => {
    await using handler = handlerFor(ALL)
    const request = formTo(`${HOME}/groups/mails/pause`, { why: 'test' })
    for (const [name, value] of Object.entries(headers)) {
      if (value === undefined) request.headers.delete(name)
      else request.headers.set(name, value)
    }
    expect((await handler(request)).status).toBe(403)
    expect(await pausedBy()).toBeUndefined()
  })

  test('a change is a POST: GET answers 405, and 404 where there is nothing', async () => {
    await using handler = handlerFor(ALL)
    const answer = await handler(new Request(`${HOME}/groups/mails/pause?why=x`))
    expect(answer.status).toBe(405)
    expect(answer.headers.get('allow')).toBe('POST')
    expect((await handler(new Request(`${HOME}/nothing`))).status).toBe(404)
    expect((await handler(new Request('http://localhost/other'))).status).toBe(404)
    expect((await handler(new Request('http://localhost/%zz'))).status).toBe(404)
  })

  test('a form with the right origin is taken from a browser without Sec-Fetch-Site', async () => {
    await using handler = handlerFor(ALL)
    const request = formTo(`${HOME}/groups/mails/pause`, { why: 'test' }, { origin: 'http://localhost' })
    request.headers.delete('sec-fetch-site')
    expect((await handler(request)).status).toBe(303)
    expect(await pausedBy()).toBe('anna')
    expect((await handler(formTo(`${HOME}/groups/mails/resume`))).status).toBe(303)
    expect(await pausedBy()).toBeUndefined()
  })

  test.each([
    [undefined, 'localhost', 200],
    [undefined, '127.0.0.1:4780', 200],
    [undefined, '[::1]:4780', 200],
    [undefined, 'evil.example', 421],
    [undefined, 'localhost.evil.example', 421],
    [['ops.example.com'], 'ops.example.com', 200],
    [['ops.example.com'], 'OPS.example.com', 200],
    [['ops.example.com'], 'localhost', 421],
    [['ops.example.com'], 'ops.example.com:81', 421],
    ['any', 'evil.example', 200],
  ])('with hosts %j, the host %s gets %i', async (hosts, host, status) => {
    await using handler = handlerFor(ALL, hosts === undefined ? {} : { hosts })
    expect((await handler(new Request(HOME, { headers: { host } }))).status).toBe(status)
  })
})

test('every answer has the headers that keep scripts, frames and other sites out, and nothing is inline', async () => {
  await using handler = handlerFor(ALL)
  const pages = routes
    .filter(({ method }) => method === 'GET')
    .map(({ path }) => path.replace(':bus', 'orders').replace(':group', 'billing'))
  const first = await (await handler(new Request(HOME))).text()
  const assets = [...first.matchAll(/(?:src|href)="([^"]*\/_\/[^"]+)"/g)].map(([, path = '']) => path)
  expect(assets).toHaveLength(3)
  const requests = [
    ...[...pages, ...assets, '/nothing', '/_/page.css'].map((path) => new Request(`http://localhost${path}`)),
    new Request(HOME, { headers: { host: 'evil.example' } }),
    new Request(HOME, { method: 'DELETE' }),
    formTo(`${HOME}/groups/nobody/pause`, { why: 'x' }),
    formTo(HOME, {}, { 'sec-fetch-site': 'cross-site' }),
  ]
  for (const request of requests) {
    const answer = await handler(request)
    const { headers } = answer
    const where = `${request.method} ${request.url}`
    expect(headers.get('content-security-policy'), where).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    )
    expect(headers.get('x-content-type-options'), where).toBe('nosniff')
    expect(headers.get('referrer-policy'), where).toBe('no-referrer')
    expect(headers.get('x-frame-options'), where).toBe('DENY')
    const isAsset = assets.includes(new URL(request.url).pathname)
    expect(headers.get('cache-control'), where).toBe(
      isAsset ? 'public, max-age=31536000, immutable' : 'no-store',
    )
    if (headers.get('content-type')?.startsWith('text/html') !== true) continue
    const text = await answer.text()
    expect(text, where).not.toMatch(/<script(?![^>]* src=)|<style|\sstyle=|\son\w+="|javascript:|https?:\/\//)
  }
})

describe('the record of changes', () => {
  test('each change has an entry before and after it, also one that fails, and Activity shows it', async () => {
    const entries: OperatorAuditEntry[] = []
    await using handler = handlerFor(ALL, { audit: (entry: OperatorAuditEntry) => void entries.push(entry) })
    const done = await handler(formTo(`${HOME}/groups/mails/pause`, { why: 'OPS-12' }))
    const failed = await handler(formTo(`${HOME}/groups/nobody/pause`, { why: 'OPS-13' }))
    await handler(formTo(`${HOME}/groups/mails/resume`))
    expect([done.status, failed.status]).toEqual([303, 404])
    expect(
      entries.map(({ action, state, why, target, by }) => [action, state, why, target['group'], by]),
    ).toEqual([
      ['groups.pause', 'started', 'OPS-12', 'mails', 'anna'],
      ['groups.pause', 'done', 'OPS-12', 'mails', 'anna'],
      ['groups.pause', 'started', 'OPS-13', 'nobody', 'anna'],
      ['groups.pause', 'failed', 'OPS-13', 'nobody', 'anna'],
      ['groups.resume', 'started', undefined, 'mails', 'anna'],
      ['groups.resume', 'done', undefined, 'mails', 'anna'],
    ])
    const landed = await (
      await handler(new Request(`http://localhost${done.headers.get('location')}`))
    ).text()
    expect(landed).toContain('Paused mails.')
    const activity = await (await handler(new Request(`${HOME}/activity`))).text()
    for (const text of ['groups.pause', 'OPS-12', 'OPS-13', 'anna', 'failed', 'done'])
      expect(activity).toContain(text)
  })

  test('if the audit rejects, nothing is changed, and the viewer is told', async () => {
    await using handler = handlerFor(ALL, { audit: () => Promise.reject(new Error('disk full at db-7')) })
    const answer = await handler(formTo(`${HOME}/groups/mails/pause`, { why: 'test' }))
    const text = await answer.text()
    expect(answer.status).toBe(500)
    expect(text).toContain('could not be recorded')
    expect(text).not.toContain('db-7')
    expect(await pausedBy()).toBeUndefined()
  })
})

describe('limits', () => {
  test('a form of 100 MB is refused: by its length, or as soon as it is too long', async () => {
    await using handler = handlerFor(ALL)
    const url = `${HOME}/groups/mails/pause`
    const announced = formTo(url, { why: 'x' }, { 'content-length': String(100 * 1024 * 1024) })
    expect((await handler(announced)).status).toBe(413)
    let sent = 0
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 1
        if (sent > 100) controller.close()
        else controller.enqueue(new Uint8Array(1024 * 1024).fill(97))
      },
    })
    const endless = new Request(url, {
      method: 'POST',
      body,
      duplex: 'half',
      headers: formTo(url).headers,
    } as RequestInit)
    expect((await handler(endless)).status).toBe(413)
    expect(sent).toBeLessThan(10)
    expect(await pausedBy()).toBeUndefined()
  })

  test('a form that arrives too slowly is refused, and its sender is cut off', async () => {
    let isCut = false
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new Uint8Array([119])),
      cancel: () => {
        isCut = true
      },
    })
    const init: RequestInit & { duplex: 'half' } = { method: 'POST', body, duplex: 'half' }
    await expect(readForm(new Request(HOME, init), 20)).rejects.toMatchObject({ status: 408 })
    expect(isCut).toBe(true)
  })

  test('texts of the broker and of viewers are shown as text', async () => {
    const name = `<script>alert(1)</script>"'\`javascript:\u202e\u0000`
    await using handler = createOperatorHandler({
      buses: { orders: system.bus },
      authorize: () => ({ name, roles: ALL }),
      environment: '<b>"',
    })
    const page = await (await handler(new Request(`${HOME}/groups/${encodeURIComponent(name)}`))).text()
    expect(page).not.toContain('<script>')
    expect(page).not.toContain('<b>')
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&#96;javascript:\\u202e\\u0000')
  })
})
