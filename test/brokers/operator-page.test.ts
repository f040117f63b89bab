import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { createOperatorHandler } from '../../src/operator/index.ts'
import { formTo } from '../operator/requests.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { paced } from '../support/pace.ts'
import { waitFor } from '../support/wait-for.ts'
import { createBus, startNetwork, systems } from './every-bus.ts'

it.concurrent.each(systems)(
  'the page shows the groups of %s, pauses one, names a broker that is away within seconds, and heals by itself',
  async (system) => {
    const scope = `page-${randomUUID()}`
    await using consumer = createBus(system, scope, { consumerGroup: 'billing', maxRetries: 0 })
    consumer.subscribe(OrderCreated, () => Promise.reject(new TypeError('no price')), { name: 'invoice' })
    consumer.startConsumingInBackground()
    await consumer.whenConsuming()
    await consumer.publish([orderCreated('o-1')])
    await waitFor(async () => (await consumer.deadLetters.count()) === 1, { timeoutMs: paced(10_000) })

    const { network, port } = await startNetwork(system)
    await using bus = createBus(system, scope, { consumerGroup: 'operator' }, port)
    await using handler = createOperatorHandler({
      buses: { orders: bus },
      authorize: () => ({ name: 'anna', roles: ['see', 'operate'] }),
    })
    const page = async (path = '') => {
      const answer = await handler(new Request(`http://localhost/orders${path}`))
      return answer.text()
    }
    const shows = (text: string, path = '') =>
      waitFor(async () => (await page(path)).includes(text), {
        timeoutMs: paced(15_000),
        describe: () => `the page shows ${text}`,
      })
    await shows('<strong><bdi>billing</bdi></strong> has 1 dead letter.')
    await shows('<bdi>billing</bdi>', '/groups')
    expect(
      (await handler(formTo('http://localhost/orders/groups/billing/pause', { why: 'OPS-12' }))).status,
    ).toBe(303)
    expect((await consumer.admin.group('billing')).paused).toMatchObject({ by: 'anna', why: 'OPS-12' })
    await shows('OPS-12', '/groups/billing')

    network.setDown(true)
    const start = performance.now()
    await shows('The broker does not answer')
    expect(performance.now() - start).toBeLessThan(paced(8000))
    // It stays usable: the last numbers are there.
    expect(await page()).toContain('has 1 dead letter')
    network.setDown(false)
    await waitFor(async () => !(await page()).includes('The broker does not answer'), {
      timeoutMs: paced(30_000),
    })
    await consumer.admin.resume('billing')
  },
)
