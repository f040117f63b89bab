import { expect, it } from 'vitest'
import type { ExportedLetter } from '../../../src/index.ts'
import { operatorListener } from '../../../src/operator/index.ts'
import { sidewaysScroll, useBrowser } from '../browser.ts'
import { HOSTILE, shownText } from '../hostile-texts.ts'
import { type Answer, faultsIn } from '../inspected.ts'
import { serve } from '../serve.ts'
import { LARGE, letterWith, pageOf } from './hostile-letters.ts'

const browser = useBrowser()

const { body: _, ...WITHOUT_BODY } = letterWith('bytes')
const BYTES: ExportedLetter = {
  ...WITHOUT_BODY,
  bodyBase64: Buffer.from([0, 255, 60, 115, 62, 200]).toString('base64'),
}

/** No event may have a field of this name. */
const keyOf = (text: string) => (text === '__proto__' ? 'key' : text)

/** An event that can be edited, with all texts in its payload, its headers, and its error. */
function letterWithAll(): ExportedLetter {
  const texts = HOSTILE.map((text) => text.slice(0, 400))
  const parts = Array.from({ length: Math.ceil(texts.length / 50) }, (_, n) =>
    texts.slice(50 * n, 50 * n + 50),
  )
  const payload = {
    customerId: 'c-1',
    parts: parts.map((part) => Object.fromEntries(part.map((text) => [keyOf(text), text]))),
  }
  const letter = letterWith('all', JSON.stringify(payload))
  const event = {
    ...JSON.parse(letter.body ?? ''),
    event_type: 'OrderCreated',
    event_id: '3f2b9c1e-0d4a-4f6e-8b1c-2a7d5e9f0c3b',
    correlation_id: undefined,
    causation_id: undefined,
  }
  const headers = Object.fromEntries(texts.slice(0, 95).map((text) => [text, text]))
  return {
    ...letter,
    body: JSON.stringify(event),
    headers: { ...headers, event_id: 'all', event_type: 'OrderCreated' },
    fields: {
      ...letter.fields,
      dlq_error_message: texts.slice(0, 60).join('\n'),
      dlq_error_stack: texts.slice(60).join('\n').slice(0, 7000),
      dlq_handlers: JSON.stringify(texts.slice(0, 30)),
    },
  }
}

async function importedScene() {
  const scene = pageOf({
    authorize: () => ({ name: '<b>anna', roles: ['see', 'read', 'operate', 'change'] }),
    environment: '<script>alert(0)</script>',
  })
  const letters = [
    ...HOSTILE.map((text) => letterWith(text)),
    ...LARGE.map((payload, n) => letterWith(`large-${n}`, payload)),
    BYTES,
    letterWithAll(),
  ]
  await scene.bus.deadLetters.import(letters.map((letter) => JSON.parse(JSON.stringify(letter))))
  return { ...scene, count: letters.length }
}

it('shows hostile texts as texts: in lists, and in a dead letter with all of them', async () => {
  await using scene = await importedScene()
  await using server = await serve(operatorListener(scene.handler))
  await using page = await browser.open({
    ...{ baseURL: server.url, viewport: { width: 390, height: 800 }, expected: /status of 4/ },
  })
  await page.goto('/orders/dead-letters')
  await page.getByText(`${scene.count} dead letters; window`).waitFor()
  const lists: string[] = []
  for (;;) {
    expect(await sidewaysScroll(page)).toBeLessThanOrEqual(0)
    lists.push((await page.locator('main').textContent()) ?? '')
    const next = page.getByRole('link', { name: 'Next page' })
    if ((await next.count()) === 0) break
    await next.click()
    await page.waitForURL((url) => !lists.includes(url.href))
  }
  const shown = lists.join('').replaceAll(/\s/g, '')
  const count = (text: string) => (text === '' ? 4 : shown.split(text).length - 1)
  expect(HOSTILE.map(shownText).filter((text) => count(text) < 4)).toEqual([])

  const all = (await scene.bus.deadLetters.list({ filter: { eventId: 'all' } })).deadLetters[0]
  const path = `/orders/dead-letters/${encodeURIComponent(all?.id ?? '')}`
  expect((await page.goto(path))?.status()).toBe(200)
  await page.getByText('Stack', { exact: true }).click()
  expect(await sidewaysScroll(page)).toBeLessThanOrEqual(0)
  const letter = ((await page.locator('main').textContent()) ?? '').replaceAll(/\s/g, '')
  expect(HOSTILE.map(shownText).filter((text) => !letter.includes(text))).toEqual([])
  expect((await page.goto(`${path}/edit`))?.status()).toBe(200)
  const payload: { parts: Record<string, string>[] } = JSON.parse(
    await page.getByLabel('Payload').inputValue(),
  )
  expect(payload.parts.flatMap((part) => Object.keys(part)).length).toBe(HOSTILE.length)
  expect(Reflect.get(Object.prototype, 'polluted')).toBeUndefined()
})

it('shows each hostile text as text wherever one dead letter shows it, and never fails', async () => {
  await using scene = await importedScene()
  await using server = await serve(operatorListener(scene.handler))
  await using blank = await browser.open()
  const get = async (path: string) => {
    const answer = await fetch(server.url + path)
    return { status: answer.status, text: await answer.text() }
  }
  const wrong: string[] = []
  const answers: Answer[] = []
  for await (const { id, errorMessage = '', eventType } of letters(scene)) {
    const path = `/orders/dead-letters/${encodeURIComponent(id)}`
    const where = errorMessage.slice(0, 40)
    const one = await get(path)
    const isText = HOSTILE.includes(errorMessage) || eventType === errorMessage
    // Type, aggregate, error, stack, handler, group, source, ids, the payload and the headers with their names.
    answers.push({ where, markup: one.text, text: isText ? shownText(errorMessage) : '', times: 12 })
    const edit = await get(`${path}/edit`)
    answers.push({ where: `${where}: edit`, markup: edit.text, text: '', times: 0 })
    const query = new URLSearchParams({
      filter: `text:"${errorMessage.toWellFormed().replaceAll('"', '""')}"`,
    })
    const found = await get(`/orders/dead-letters?${query}`)
    const line = await get(
      `/orders/dead-letters?${new URLSearchParams({ filter: errorMessage.toWellFormed() })}`,
    )
    answers.push({ where: `${where}: filter`, markup: line.text, text: '', times: 0 })
    const statuses = [one.status, edit.status, found.status, line.status]
    if (one.status !== 200 || statuses.some((status) => ![200, 400, 409].includes(status)))
      wrong.push(`${where}: ${statuses}`)
  }
  expect(wrong).toEqual([])
  expect(answers.length).toBe(3 * scene.count)
  for (let at = 0; at < answers.length; at += 100)
    expect(await faultsIn(blank, answers.slice(at, at + 100))).toEqual([])
})

async function* letters({ bus }: Awaited<ReturnType<typeof importedScene>>) {
  let cursor: string | undefined
  do {
    const page = await bus.deadLetters.list({ limit: 100, ...(cursor !== undefined && { cursor }) })
    yield* page.deadLetters
    cursor = page.cursor
  } while (cursor !== undefined)
}

it('downloads a hostile body as bytes, which no browser shows', async () => {
  await using scene = await importedScene()
  const [script] = (await scene.bus.deadLetters.list({ filter: { eventType: HOSTILE[0] ?? '' } })).deadLetters
  const path = `http://localhost/orders/dead-letters/${encodeURIComponent(script?.id ?? '')}/body`
  const body = await scene.handler(new Request(path))
  expect(body.headers.get('content-type')).toBe('application/octet-stream')
  expect(body.headers.get('content-disposition')).toMatch(/^attachment/)
  expect(await body.text()).toBe(Buffer.from(script?.body ?? []).toString())
})
