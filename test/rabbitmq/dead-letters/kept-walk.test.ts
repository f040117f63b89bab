import { expect, it } from 'vitest'
import type { RabbitMQEventBus } from '../../../src/rabbitmq/index.ts'
import { plainChannel, proxiedBus, until } from '../scene.ts'
import { LETTERS, sceneWithLetters } from './stored-letters.ts'

type Order = 'oldest' | 'newest'

/** Reads page after page. */
class Pages {
  readonly ids: (string | undefined)[] = []
  readonly #bus: RabbitMQEventBus
  readonly #order: Order
  #cursor: string | undefined
  isOver = false

  constructor(bus: RabbitMQEventBus, order: Order = 'oldest') {
    this.#bus = bus
    this.#order = order
  }

  async read(limit = 100): Promise<void> {
    const { deadLetters, cursor } = await this.#bus.deadLetters.list({
      order: this.#order,
      limit,
      ...(this.#cursor !== undefined && { cursor: this.#cursor }),
    })
    this.ids.push(...deadLetters.map(({ eventId }) => eventId))
    this.#cursor = cursor
    this.isOver = cursor === undefined
  }

  async rest(): Promise<void> {
    while (!this.isOver) await this.read()
  }
}

/** Counts the dead letters that no reader holds. */
async function freeLetters(exchangeName: string): Promise<() => Promise<number>> {
  const channel = await plainChannel()
  return async () => (await channel.checkQueue(`${exchangeName}.default.dlq`)).messageCount
}

it.each([
  ['oldest', 2],
  ['newest', 3],
] as const)('reads a deep queue only once for all pages, %s first', async (order, passes) => {
  const { exchangeName, ids } = await sceneWithLetters()
  const { proxy, bus } = await proxiedBus({ exchangeName })
  let bytes = 0
  proxy.rewriteAnswers((chunk) => {
    bytes += chunk.length
    return chunk
  })
  const whole = new Pages(bus, order)
  await whole.read(LETTERS)
  const bytesOfAll = bytes
  bytes = 0
  const pages = new Pages(bus, order)
  await pages.rest()
  expect(pages.ids).toEqual(order === 'oldest' ? ids : ids.toReversed())
  expect(bytes).toBeLessThan(passes * bytesOfAll)
})

it.each(['oldest', 'newest'] as const)(
  'gives way to other readers between two pages, and continues, %s first',
  async (order) => {
    const { exchangeName, ids, bus } = await sceneWithLetters()
    const [paging, other] = [bus(), bus()]
    const pages = new Pages(paging, order)
    const free = await freeLetters(exchangeName)
    for (let page = 0; page < 3; page += 1) await pages.read()
    expect(await free()).toBeLessThan(LETTERS)

    expect(await other.deadLetters.count()).toBe(LETTERS)
    await pages.read()
    expect(await paging.deadLetters.count()).toBe(LETTERS)
    await pages.read()
    const others = new Pages(other, order)
    await Promise.all([pages.rest(), others.rest()])

    const expected = order === 'oldest' ? ids : ids.toReversed()
    expect([pages.ids, others.ids]).toEqual([expected, expected])
    await until('the letters', async () => (await free()) === LETTERS)
  },
)

it('shows letters that were added meanwhile on the first page, newest first, without reading the queue again', async () => {
  const { exchangeName, ids, add } = await sceneWithLetters(6000)
  const { proxy, bus } = await proxiedBus({ exchangeName })
  let bytes = 0
  proxy.rewriteAnswers((chunk) => {
    bytes += chunk.length
    return chunk
  })
  await new Pages(bus, 'newest').read()
  const bytesOfAll = bytes
  bytes = 0
  await add(30)
  const pages = new Pages(bus, 'newest')
  await pages.read()
  await pages.read()
  expect(pages.ids).toEqual(ids.toReversed().slice(0, 200))
  expect(bytes).toBeLessThan(bytesOfAll / 5)
})

it('lists letters that were replayed or added meanwhile as if each page read the queue again', async () => {
  const { ids, add, bus } = await sceneWithLetters()
  const paging = bus()
  const pages = new Pages(paging)
  for (let page = 0; page < 3; page += 1) await pages.read()
  await add(150)
  const behind = ids[1000]
  expect(await paging.deadLetters.replay(`default/${behind}`)).toBe(true)
  await pages.rest()
  expect(pages.ids).toEqual(ids.filter((id) => id !== behind))
})

it('returns the letters after a while without a further page', async () => {
  const { exchangeName, bus } = await sceneWithLetters()
  const pages = new Pages(bus())
  for (let page = 0; page < 3; page += 1) await pages.read()
  const free = await freeLetters(exchangeName)
  expect(await free()).toBeLessThan(LETTERS)
  await until('the letters', async () => (await free()) === LETTERS)
})

it('continues after the connection was lost between two pages', async () => {
  const { exchangeName, ids } = await sceneWithLetters()
  const { proxy, bus } = await proxiedBus({ exchangeName })
  const pages = new Pages(bus)
  for (let page = 0; page < 3; page += 1) await pages.read()
  proxy.cut()
  await until('the connection', async () => (await bus.deadLetters.count().catch(() => 0)) === LETTERS)
  await pages.rest()
  expect(pages.ids).toEqual(ids)
})
