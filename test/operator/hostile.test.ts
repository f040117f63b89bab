import { afterAll, beforeAll, expect, it } from 'vitest'
import { type DomainEvent, defineEvent, EventRegistry } from '../../src/index.ts'
import { createOperatorHandler, operatorListener } from '../../src/operator/index.ts'
import { MemoryBroker, MemoryBrokerEventBus } from '../../src/testing/index.ts'
import { waitFor } from '../support/wait-for.ts'
import { sidewaysScroll, useBrowser } from './browser.ts'
import { HOSTILE, shownText } from './hostile-texts.ts'
import { type Answer, faultsIn } from './inspected.ts'
import { serve } from './serve.ts'
import { silentLogger } from './silent-logger.ts'
import { visitor } from './visitor.ts'

const browser = useBrowser()
const PART = 50
const parts = Array.from({ length: Math.ceil(HOSTILE.length / PART) }, (_, n) =>
  HOSTILE.slice(n * PART, (n + 1) * PART),
)

/** An event whose names and values are all the same text. An event has no names with half of a surrogate pair. */
function eventOf(text: string) {
  const name = text.toWellFormed()
  return defineEvent<{ text: string; nested: Record<string, string> }>()({
    type: name,
    aggregateType: name,
  })
}

/** The bus refuses other names of handlers. */
const isHandlerName = (text: string) =>
  text.length <= 255 && !/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u.test(text) && text.isWellFormed()

/** A bus on which a group, its program, its handler, an event and its aggregate have each of the texts as their name. */
async function hostileBus(texts: readonly string[]) {
  const broker = new MemoryBroker()
  const registry = new EventRegistry()
  const create = (consumerGroup: string, options = {}) =>
    new MemoryBrokerEventBus({
      broker,
      logger: silentLogger,
      consumerGroup,
      presenceIntervalMs: 1000,
      ...options,
    })
  const all = texts.map((text) => ({ text, eventClass: eventOf(text) }))
  const buses = all.map(({ text, eventClass }) => {
    registry.register(eventClass)
    const bus = create(text, { programName: text, programVersion: text })
    bus.subscribe(eventClass, () => undefined, { name: isHandlerName(text) ? text : 'handler' })
    bus.startConsumingInBackground()
    return bus
  })
  await Promise.all(buses.map((bus) => bus.whenConsuming()))
  const events = (): readonly DomainEvent[] =>
    all.map(
      ({ text, eventClass }) =>
        new eventClass({
          aggregateId: text.toWellFormed(),
          tenantId: text.toWellFormed(),
          correlationId: text.toWellFormed(),
          text,
          nested: { [text === '__proto__' ? 'key' : text]: text },
        }),
    )
  const publish = async () => {
    for (const [n, event] of events().entries()) await buses[n]?.publish([event])
  }
  const page = create('page', { registry })
  const close = async () => {
    await Promise.all([page, ...buses].map((bus) => bus.shutdown({ timeoutMs: 1000 })))
  }
  return { texts, page, publish, [Symbol.asyncDispose]: close }
}

/** A bus for each part of the texts, and their page. */
async function hostileSystem() {
  const scenes = await Promise.all(parts.map(hostileBus))
  const handler = createOperatorHandler({
    buses: Object.fromEntries(scenes.map(({ page }, n) => [`part${n}`, page])),
    authorize: () => ({ name: HOSTILE[0] ?? '', roles: ['see', 'read', 'operate', 'change'] }),
    environment: HOSTILE[1] ?? '',
    logger: silentLogger,
  })
  for (const { publish } of scenes) await publish()
  const close = async () => {
    await handler.close()
    for (const scene of scenes) await scene[Symbol.asyncDispose]()
  }
  return { scenes, handler, [Symbol.asyncDispose]: close }
}

let system: Awaited<ReturnType<typeof hostileSystem>>
beforeAll(async () => {
  system = await hostileSystem()
})
afterAll(() => system[Symbol.asyncDispose]())

it('shows hostile names and values as texts: groups, programs, handlers, events, live events, the map, reasons', async () => {
  await using server = await serve(operatorListener(system.handler))
  const anna = visitor(system.handler, 'anna', '')
  await using page = await browser.open({ baseURL: server.url, viewport: { width: 390, height: 800 } })
  for (const [n, { texts, publish }] of system.scenes.entries()) {
    for (const text of texts) {
      const path = `/part${n}/groups/${encodeURIComponent(text.toWellFormed())}`
      // A path cannot have these segments.
      if (text !== '.' && text !== '..') await anna.post(`${path}/pause`, { why: text })
    }
    const missing = async (where: string, times: number) => {
      expect(await sidewaysScroll(page), where).toBeLessThanOrEqual(0)
      const shown = ((await page.locator('main').textContent()) ?? '').replaceAll(/\s/g, '')
      return texts
        .map(shownText)
        .filter((text) => text !== '' && shown.split(text).length - 1 < times)
        .map((text) => `${where}: ${text}`)
    }
    await page.goto(`/part${n}/groups`)
    await page.getByRole('table', { name: 'Consumer groups' }).waitFor()
    const groups = await missing('groups', 1)
    await page.goto(`/part${n}/events`)
    await page.getByText(`${texts.length} events shown`).waitFor()
    const events = await missing('events', 2)
    // Program, event and handler, in the drawing and in the table.
    await page.goto(`/part${n}/map`)
    const map = await waitFor(
      async () => {
        const left = await missing('map', 5)
        return left.length === 0 ? { left } : page.reload().then(() => false as const)
      },
      { describe: () => 'the map' },
    )
    await page.goto(`/part${n}/live`)
    await page.getByText('running').first().waitFor()
    await publish()
    const live = await waitFor(async () => {
      const left = await missing('live', 2)
      if (left.length === 0) return { left }
      await publish()
      return false
    })
    await page.goto(`/part${n}/activity`)
    const activity = await missing('activity', 1)
    expect([...groups, ...events, ...map.left, ...live.left, ...activity]).toEqual([])
  }
})

it('shows a hostile name or value as text wherever the page of its group or event shows it, and never fails', async () => {
  const anna = visitor(system.handler, 'anna', '')
  await using blank = await browser.open()
  const wrong: string[] = []
  const answers: Answer[] = []
  const look = async (where: string, path: string, text: string, times: number) => {
    const { status, text: markup } = await anna.get(path)
    if (status !== 200) wrong.push(`${where}: ${status}`)
    answers.push({ where, markup, text: shownText(text), times })
  }
  for (const [n, { texts, page }] of system.scenes.entries()) {
    for (const text of texts) {
      if (text === '.' || text === '..') continue
      const path = encodeURIComponent(text.toWellFormed())
      if (text.isWellFormed()) await look(`group ${text}`, `/part${n}/groups/${path}`, text, 1)
    }
    // Type, aggregate and its type, tenant, correlation, the payload.
    for await (const { eventId, eventType } of page.admin.browse({ limit: 100 }))
      await look(`event ${eventType}`, `/part${n}/events/${eventId}`, eventType ?? '', 6)
  }
  expect(wrong).toEqual([])
  expect(answers.length).toBeGreaterThan(2 * HOSTILE.length - 20)
  for (let at = 0; at < answers.length; at += 100)
    expect(await faultsIn(blank, answers.slice(at, at + 100))).toEqual([])
})
