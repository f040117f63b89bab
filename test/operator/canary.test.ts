import { expect, it } from 'vitest'
import { createOperatorHandler, type OperatorAuditEntry } from '../../src/operator/index.ts'
import { MemoryBroker, MemoryBrokerEventBus, waitFor } from '../../src/testing/index.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { openShop, orderPlaced } from './shop.ts'
import { silentLogger } from './silent-logger.ts'
import { authorizeByHeader, visitor } from './visitor.ts'

/** The holder of the card, whom the event marks as sensitive, its token, and a field that the page masks by its path. */
const CANARIES = /Ada Byron|tok_\d|customer-\d/

const links = (text: string) =>
  [...text.matchAll(/(?:href|action)="(\/[^"]+)"/g)].map(([, link = '']) => link.replaceAll('&amp;', '&'))

it('a session that opens every link and form of the page sees no value that an event or the page hides', async () => {
  const brokers = { orders: new MemoryBroker(), deliveries: new MemoryBroker() }
  await using shop = await openShop(
    (bus, options) => new MemoryBrokerEventBus({ broker: brokers[bus], logger: silentLogger, ...options }),
  )
  shop.state.errorOf = ({ card, customerId }) => `No mailbox of ${card.holder}, customer ${customerId}`
  await shop.order(0, 45)
  const audited: OperatorAuditEntry[] = []
  const logger = new RecordingLogger()
  await using handler = createOperatorHandler({
    ...{ buses: shop.buses, authorize: authorizeByHeader, logger },
    mask: { keys: ['token'], paths: ['customerId'] },
    audit: (entry) => void audited.push(entry),
  })
  const anna = visitor(handler, 'anna', 'see read operate change')
  const session = new Map<string, string>()
  const wait = [
    '/orders/dead-letters',
    '/orders',
    '/deliveries',
    '/orders/dead-letters?filter=text%3A%22Ada%20Byron%22',
  ]
  for (const path of wait) {
    if (session.has(path) || session.size > 350) continue
    const { text, headers } = await anna.get(path)
    session.set(path, `${text}${JSON.stringify([...headers])}`)
    wait.push(...links(text).filter((link) => !link.includes('/groups/') && !link.endsWith('/stream')))
  }
  const edits = [...session.keys()].filter((path) => path.endsWith('/edit'))
  expect(edits.length).toBeGreaterThan(3)
  for (const path of edits) {
    for (const payload of [
      '{',
      '{"card":{"holder":"••••"}}',
      '{"total":-1,"card":{"holder":7,"token":"••••"}}',
    ]) {
      const { text, location } = await anna.post(path.replace('/edit', '/check'), { payload })
      session.set(`${path} ${payload}`, text + location)
    }
  }
  const stream = await handler(
    new Request('http://localhost/orders/live/stream', { headers: { 'x-roles': 'see read' } }),
  )
  let frames = ''
  const reading = (async () => {
    for await (const chunk of stream.body ?? []) {
      frames += Buffer.from(chunk).toString('utf8')
      if (frames.includes('OrderPlaced')) break
    }
  })()
  await waitFor(async () => {
    await shop.web.publish([orderPlaced(5)])
    return frames.includes('OrderPlaced')
  })
  await reading
  session.set('stream', frames)
  session.set('audit', JSON.stringify(audited))
  session.set('log', JSON.stringify(logger.lines))

  const kinds = [
    '/dead-letters',
    '/export/dead-letters',
    '/edit',
    '/body',
    '/events/',
    '/live',
    '/map',
    'stream',
  ]
  for (const kind of kinds)
    expect([kind, [...session.keys()].some((path) => path.includes(kind))]).toEqual([kind, true])
  expect([...session].filter(([, text]) => text.includes('••••')).length).toBeGreaterThan(10)
  const found = [...session].flatMap(([path, text]) => {
    const at = text.search(CANARIES)
    return at < 0 || path.includes('Ada') ? [] : [`${path}: ${text.slice(at - 60, at + 40)}`]
  })
  expect(found).toEqual([])
})
