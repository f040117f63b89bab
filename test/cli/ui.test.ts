import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { run } from '../../src/cli/run.ts'
import { freePort } from '../brokers/free-port.ts'
import { useBrowser } from '../operator/browser.ts'
import { waitFor } from '../support/wait-for.ts'

const browser = useBrowser()

/** Runs `eventspine ui` in this process, with a broker that is away. */
async function ui(...args: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-ui-'))
  const interrupt = new AbortController()
  const messages: string[] = []
  const port = await freePort()
  const ended = run(
    [
      'ui',
      'redis://127.0.0.1:1',
      '--port',
      String(port),
      ...args.map((one) => one.replace('FOLDER', folder)),
    ],
    {
      out: () => Promise.resolve(),
      err: (text) => void messages.push(text),
      columns: undefined,
      hasColor: false,
      ask: undefined,
      environment: {},
      workingDirectory: folder,
      interrupted: interrupt.signal,
    },
  )
  onTestFinished(async () => {
    interrupt.abort()
    await ended
    rmSync(folder, { recursive: true })
  })
  return { folder, port, url: `http://127.0.0.1:${port}`, messages, ended, interrupt }
}

const link = ({ messages }: { readonly messages: readonly string[] }) =>
  waitFor(() => /http:\/\/\S+/.exec(messages.join('\n'))?.[0], { describe: () => messages.join('\n') })

const isOpen = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

test('the link works once: the browser gets a cookie for itself, and others are refused', async () => {
  const page = await ui()
  const first = await link(page)
  expect(first).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/\?token=[\w-]{32}$/)
  expect((await fetch(`${page.url}/`)).status).toBe(401)
  expect((await fetch(`${page.url}/?token=${'x'.repeat(32)}`)).status).toBe(401)

  const welcome = await fetch(first)
  const cookie = welcome.headers.get('set-cookie') ?? ''
  expect(cookie).toMatch(/^eventspine-ui-\d+=[\w-]{32}; HttpOnly; SameSite=Strict; Path=\/$/)
  expect(welcome.headers.get('referrer-policy')).toBe('no-referrer')
  expect(await welcome.text()).toContain('http-equiv="refresh" content="0;url=./"')

  const headers = { cookie: cookie.split(';')[0] ?? '' }
  const shown = await fetch(`${page.url}/`, { headers })
  expect([shown.status, shown.url]).toEqual([200, `${page.url}/events`])
  expect((await fetch(first)).status).toBe(401)
  expect((await fetch(`${page.url}/`, { headers: { cookie: 'eventspine-ui-1=x' } })).status).toBe(401)

  page.interrupt.abort()
  expect(await page.ended).toBe(0)
})

test('in a browser, the link leads to the page, whose address and scripts do not have the token, the cookie or a referrer', async () => {
  const { url, ...page } = await ui()
  const first = await link({ messages: page.messages })
  const token = new URL(first).searchParams.get('token') ?? ''
  const tab = await browser.open({ expected: /status of (404|5)/ })
  await tab.goto(first)
  await tab.waitForURL(`${url}/events`)
  const seen = await tab.evaluate<string>(
    "[location.href, document.referrer, document.cookie, document.documentElement.outerHTML].join(' ')",
  )
  expect(seen).not.toContain(token)
  expect(await tab.evaluate<string>('document.referrer + document.cookie')).toBe('')
  const [cookie] = await tab.context().cookies()
  expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict' })
})

test('it starts while the broker is away: the page shows the cause and what fixes it', async () => {
  const page = await ui()
  const welcome = await fetch(await link(page))
  const headers = { cookie: welcome.headers.get('set-cookie')?.split(';')[0] ?? '' }
  const text = await waitFor(
    async () => {
      const shown = await (await fetch(`${page.url}/events`, { headers })).text()
      return shown.includes('Start the broker, or check host and port.') && shown
    },
    { timeoutMs: 10_000 },
  )
  expect(text).toContain('The broker does not answer')
  expect(text).toContain('ECONNREFUSED')
})

test.each([
  ['a host that others reach', ['--host', '0.0.0.0'], /--host 0\.0\.0\.0 needs --auth <file>/],
  ['a file that is missing', ['--auth', 'FOLDER/users'], /file of --auth cannot be read/],
])('%s ends with 2, and no port is open', async (_name, args, message) => {
  const page = await ui(...args)
  expect(await page.ended).toBe(2)
  expect(page.messages.join('\n')).toMatch(message)
  expect(await isOpen(page.port)).toBe(false)
})

test('with --auth, users log in with the roles of the file, and other host names are refused', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-users-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const users = join(folder, 'users')
  writeFileSync(users, '# ours\nada:correct-horse\nben:battery-staple:see\n')
  const page = await ui('--host', '0.0.0.0', '--auth', users, '--allow-host', 'ops.example.com')
  await link(page)
  const as = (name: string, password: string, more = {}) => ({
    headers: { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`, ...more },
  })
  const refused = await fetch(`${page.url}/`)
  expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
    401,
    'Basic realm="eventspine", charset="UTF-8"',
  ])
  expect((await fetch(`${page.url}/events`, as('ada', 'correct-hors'))).status).toBe(401)
  expect((await fetch(`${page.url}/events`, as('eve', ''))).status).toBe(401)
  expect((await fetch(`${page.url}/events`, as('ada', 'correct-horse'))).status).toBe(200)
  const form = { 'sec-fetch-site': 'same-origin', 'content-type': 'application/x-www-form-urlencoded' }
  const pause = { method: 'POST', body: 'why=x', ...as('ben', 'battery-staple', form) }
  expect((await fetch(`${page.url}/events/groups/billing/pause`, pause)).status).toBe(403)
})
