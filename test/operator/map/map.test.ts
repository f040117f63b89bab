import { expect, it } from 'vitest'
import type { Topology } from '../../../src/index.ts'
import { graphOf } from '../../../src/operator/pages/map/graph.ts'
import { placed } from '../../../src/operator/pages/map/place.ts'
import { waitFor } from '../../support/wait-for.ts'
import { trade } from '../events/trade.ts'
import { visitor } from '../visitor.ts'

/** The texts of the boxes of the drawing. */
const boxes = (text: string) =>
  [...text.matchAll(/<g class="(\w+)[^>]*>.*?<title>([^<]*)<\/title>/g)]
    .map(([, kind, title]) => `${kind} ${title}`)
    .toSorted()

const DELIVERIES = [
  'event OrderCancelled',
  'event OrderShipped',
  'handler tracking: note',
  'handler tracking: track',
]

it('draws each producer, event and handler that lives, and no other, and lists them in a table', async () => {
  await using scene = await trade()
  await scene.order(['Order-1', 'Order-13'])
  const anna = scene.as('see')
  const shown = async (path: string, expected: readonly string[]) => {
    let text = ''
    await waitFor(
      async () => {
        text = (await anna.get(path)).text
        return boxes(text).length === expected.length
      },
      { timeoutMs: 15_000 },
    )
    expect(boxes(text)).toEqual(expected)
    return text
  }

  const orders = await shown('/orders/map', [
    'event OrderCreated',
    'handler billing: ship',
    'handler mails: welcome',
    'producer billing',
  ])
  expect(orders).toMatch(/<g class="handler bad"><a href="\/orders\/groups\/mails"/)
  expect(orders.match(/marker-end/g)).toHaveLength(3)
  expect(orders).toContain('Events with their producers and handlers')
  // The handlers are reported before what they have published.
  let deliveries = ''
  await waitFor(
    async () => {
      deliveries = (await anna.get('/deliveries/map')).text
      return deliveries.includes('tracking: track (after OrderShipped)')
    },
    { timeoutMs: 15_000 },
  )
  expect(boxes(deliveries).filter((one) => !one.startsWith('producer'))).toEqual(DELIVERIES)
})

it('shows nothing of a group that the viewer may not see', async () => {
  await using scene = await trade({
    authorize: () => ({ name: 'ben', roles: ({ group }) => (group === 'billing' ? [] : ['see']) }),
  })
  await scene.order(['Order-1'])
  const ben = visitor(scene.handler, 'ben', '')
  await waitFor(async () => boxes((await ben.get('/orders/map')).text).length >= 2)
  const { text } = await ben.get('/orders/map')
  expect(text).not.toContain('billing')
  expect(boxes(text)).toEqual(['event OrderCreated', 'handler mails: welcome'])
})

it('places each box behind what leads to it, also in a circle, and no two at the same place', () => {
  const handlers = Array.from({ length: 40 }, (_, n) => ({
    ...{ group: `g${n % 5}`, name: `h${n}`, eventTypes: [`E${n % 10}`] },
  }))
  const topology: Topology = {
    producers: [{ name: 'web', processes: 1, eventTypes: ['E0', 'E1'] }],
    events: Array.from({ length: 10 }, (_, n) => `E${n}`),
    groups: [],
    handlers,
    edges: handlers.map(({ group, name, eventTypes: [eventType = ''] }, n) => ({
      ...{ eventType, group, handler: name, publishes: `E${(n + 1) % 10}` },
    })),
  }
  const { nodes, curves, width, height } = placed(graphOf(topology))
  expect(nodes).toHaveLength(51)
  expect(new Set(nodes.map(({ x, y }) => `${x} ${y}`)).size).toBe(51)
  expect(curves).toHaveLength(2 + 40 + 40)
  expect(nodes.every(({ x, y }) => x >= 0 && y >= 0 && x < width && y < height)).toBe(true)
  const xOf = (text: string) => nodes.find((node) => node.text === text)?.x ?? 0
  expect(xOf('web')).toBeLessThan(xOf('E0'))
  expect(xOf('E0')).toBeLessThan(xOf('h0'))
  expect(curves.some((path) => path.includes('NaN'))).toBe(false)
})
