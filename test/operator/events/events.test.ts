import { expect, it } from 'vitest'
import { InMemoryEventBus } from '../../../src/index.ts'
import { createOperatorHandler } from '../../../src/operator/index.ts'
import { waitFor } from '../../support/wait-for.ts'
import { silentLogger } from '../silent-logger.ts'
import { authorizeByHeader, visitor } from '../visitor.ts'
import { eventsOf, trade } from './trade.ts'

const NEXT = /rel="next" href="([^"]+)"/
const link = (text: string, pattern: RegExp) => pattern.exec(text)?.[1]?.replaceAll('&amp;', '&') ?? ''
const path = (filter: string) => `/orders/events?filter=${encodeURIComponent(filter)}`

it('lists the events of a bus newest first, in pages by position, and searches them by the filter line', async () => {
  await using scene = await trade()
  const events = await scene.order(Array.from({ length: 60 }, (_, n) => `Order-${n}`))
  const anna = scene.as('see')

  const first = (await anna.get('/orders/events')).text
  expect(first).toContain('50 events shown')
  expect(first).toContain('scanned 50 of 60')
  expect(first.indexOf('Order-59')).toBeLessThan(first.indexOf('Order-11'))
  const second = (await anna.get(link(first, NEXT))).text
  expect(second).toContain('10 events shown')
  expect(second).toContain('scanned 10 of 10; there are no more')
  expect(second).toContain('Order-9<')
  expect(NEXT.test(second)).toBe(false)
  const { eventId = '', correlationId } = events[7] ?? {}
  for (const filter of [`id:${eventId}`, 'aggregate:Order-7', `correlation:${correlationId}`]) {
    const { text } = await anna.get(path(filter))
    expect([filter, text.match(/data-row/g)?.length]).toEqual([filter, 1])
    expect(text).toContain(`/orders/events/${eventId}?aggregate=Order-7`)
  }
  expect((await anna.get(path('type:OrderShipped'))).text).toContain('No event matches')
  expect((await anna.get(path('since:1h type:OrderCreated'))).text).toContain('50 events shown')
  expect((await anna.get(path('tipe:x'))).text).toContain('did you mean type?')
})

it('finds no text in masked values, and none at all without the role read', async () => {
  await using scene = await trade()
  await scene.order(['Order-1', 'Order-2'])

  const refused = await scene.as('see').get(path('text:Order-1'))
  expect(refused.status).toBe(400)
  expect(refused.text).toContain('this needs the role read')
  const anna = scene.as('see read')
  expect((await anna.get(path('text:Order-1'))).text).toContain('1 event shown')
  const hidden = (await anna.get(path('text:"""c-1"""'))).text
  expect(hidden).toContain('No event matches')
})

it('shows a long search while it runs, and ends it at the bus when it is cancelled', async () => {
  await using scene = await trade()
  await scene.order(['Order-1', 'Order-2'])
  const { admin } = scene.mails
  const ended: unknown[] = []
  const rest = Promise.withResolvers<void>()
  /** A broker that stops answering behind the first event, until it is asked to end. */
  const slow: typeof admin.browse = async function* (query = {}) {
    for await (const found of admin.browse({ ...query, onProgress: () => undefined })) {
      query.onProgress?.({ scanned: 1, total: 5000, matched: 1, position: found.position, ended: undefined })
      yield found
      query.onProgress?.({ scanned: 2, total: 5000, matched: 1, position: found.position, ended: undefined })
      query.signal?.addEventListener('abort', () => rest.resolve())
      await rest.promise
      ended.push(query.signal?.aborted)
      return
    }
  }
  Object.defineProperty(scene.mails, 'admin', {
    value: { ...admin, groups: () => admin.groups(), browse: slow },
  })
  const anna = scene.as('see')

  const running = (await anna.get(path('type:OrderCreated'))).text
  expect(running).toContain('searching: scanned 2 of 5,000 so far')
  expect(running).toContain('1 event shown')
  expect(running).toContain('data-refresh="1"')
  const stopped = (await anna.get(link(running, /href="([^"]+)">Cancel the search/))).text
  expect(ended).toEqual([true])
  expect(stopped).toContain('cancelled: scanned 2 of 5,000')
  expect(stopped).toContain('1 event shown')
  expect(link(stopped, NEXT)).toContain('from=')
})

it('says in one sentence that a bus keeps no past events', async () => {
  const bus = new InMemoryEventBus({ logger: silentLogger })
  const handler = createOperatorHandler({ buses: { orders: bus }, authorize: authorizeByHeader })
  const anna = visitor(handler, 'anna', 'see')
  const { text, status } = await anna.get('/orders/events')
  expect(status).toBe(200)
  expect(text).toContain('This bus keeps no past events')
  expect(text).toContain('keepLastEvents')
  await handler.close()
})

it('shows of one event when it was published, what each group has done with it, and what it caused on all buses', async () => {
  await using scene = await trade()
  const [event] = await scene.order(['Order-13'])
  const url = `/orders/events/${event?.eventId}`
  const anna = scene.as('see read')
  const complete = async (roles = anna) => {
    let text = ''
    await waitFor(async () => {
      text = (await roles.get(url)).text
      return text.includes('>mails: dead letter<') && text.includes('>tracking: done<')
    })
    return text
  }

  const page = await complete()
  const [letter] = (await scene.mails.deadLetters.list()).deadLetters
  expect(page).toMatch(/billing<\/bdi><\/a><\/td><td[^>]*><span class="badge good">done/)
  expect(page).toMatch(/mails<\/bdi><\/a><\/td><td[^>]*><span class="badge bad">dead letter/)
  expect(page).toContain(`/orders/dead-letters/${letter?.id}`)
  expect(page).toContain('no &lt;address&gt; of ')
  expect(page).toContain('customerId')
  expect(page).not.toContain('"c-1"')
  const tree = page.slice(page.indexOf('What belongs to it'), page.indexOf('Published'))
  expect(tree).toContain('3 events')
  const order = ['OrderCreated', 'OrderShipped', 'OrderCancelled'].map((type) => tree.indexOf(`>${type}<`))
  expect(order).toEqual(order.toSorted((a, b) => a - b))
  expect(tree.match(/class="node/g)).toHaveLength(3)
  expect(tree.match(/<ul/g)).toHaveLength(3)
  expect(tree).toContain(`href="/deliveries/events/`)

  const seen = await complete(scene.as('see'))
  expect(seen).toContain('this needs the role read')
  expect(seen).not.toContain('customerId')
  expect((await anna.get('/orders/events/no-such-event')).status).toBe(404)
  expect((await anna.get(`${url}?at=x`)).status).toBe(400)
})

it('shows nothing of a bus or a group that the viewer may not see', async () => {
  await using scene = await trade({
    authorize: () => ({
      name: 'ben',
      roles: ({ bus, group }) => (bus === 'deliveries' || group === 'billing' ? [] : ['see']),
    }),
  })
  const [event] = await scene.order(['Order-13'])
  const ben = visitor(scene.handler, 'ben', '')
  await waitFor(async () =>
    (await ben.get(`/orders/events/${event?.eventId}`)).text.includes('mails: dead letter'),
  )
  const { text } = await ben.get(`/orders/events/${event?.eventId}`)
  expect(text).not.toMatch(/billing|deliveries|OrderShipped/)
})

it('keeps hostile texts of events as texts', async () => {
  await using scene = await trade()
  const hostile = '"><script>alert(1)</script>\u202e\u0000'
  await scene.order([hostile])
  const anna = scene.as('see read')
  const list = (await anna.get('/orders/events')).text
  expect(list).not.toContain('<script>alert')
  const [found] = await eventsOf(scene.mails)
  const one = await anna.get(`/orders/events/${encodeURIComponent(found?.eventId ?? '')}`)
  expect(one.status).toBe(200)
  expect(one.text).not.toContain('<script>alert')
})
