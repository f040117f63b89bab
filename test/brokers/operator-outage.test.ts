import { randomUUID } from 'node:crypto'
import { expect, it, onTestFinished } from 'vitest'
import { createOperatorHandler, operatorListener, type Viewer } from '../../src/operator/index.ts'
import { useBrowser } from '../operator/browser.ts'
import { serve } from '../operator/serve.ts'
import { silentLogger } from '../operator/silent-logger.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { paced } from '../support/pace.ts'
import { createBus, systems } from './every-bus.ts'
import { launchBroker } from './launch-broker.ts'

const browser = useBrowser()
const authorize = (): Viewer => ({ name: 'anna', roles: ['see'] })
const AWAY = 'The broker does not answer'
/** Within this time the page names a broker that was stopped, in milliseconds. */
const NOTICED_MS = paced(5000)
/** The same for a broker that is back; twice the time that it takes on a machine with no other work. */
const HEALED_MS = paced(10_000)

it.each(systems)(
  'the page says within seconds that %s was stopped, also one that starts meanwhile, and heals by itself',
  async (system) => {
    await using broker = await launchBroker(system)
    const options = { consumerGroup: 'billing', logger: silentLogger }
    const bus = createBus(system, `outage-${randomUUID().slice(0, 8)}`, options, broker.port)
    bus.subscribe(OrderCreated, () => undefined, { name: 'charge' })
    bus.startConsumingInBackground()
    await bus.whenConsuming()
    await bus.publish([orderCreated()])
    const handler = createOperatorHandler({
      buses: { orders: bus },
      authorize,
      logger: silentLogger,
    })
    onTestFinished(() => handler.close())
    await using server = await serve(operatorListener(handler))
    const page = await browser.open()
    const groups = page.getByRole('table', { name: 'Consumer groups' }).getByText('billing', { exact: true })
    await page.goto(`${server.url}/orders`)
    await page.locator('#health.ok').waitFor({ timeout: paced(15_000) })

    await broker.stop()
    await page.getByText(AWAY).waitFor({ timeout: NOTICED_MS })
    await groups.waitFor({ timeout: NOTICED_MS })
    await page.getByRole('link', { name: 'Dead letters' }).first().waitFor({ timeout: NOTICED_MS })
    // A page whose program starts while the broker is away.
    const late = createBus(system, 'late', { consumerGroup: 'page', logger: silentLogger }, broker.port)
    const second = createOperatorHandler({ buses: { orders: late }, authorize, logger: silentLogger })
    onTestFinished(() => second.close())
    await using other = await serve(operatorListener(second))
    const fresh = await browser.open()
    await fresh.goto(`${other.url}/orders`)
    await fresh.getByText(AWAY).waitFor({ timeout: NOTICED_MS })
    await fresh
      .getByText(/Start the broker|ECONNREFUSED/)
      .first()
      .waitFor({ timeout: NOTICED_MS })
    await broker.start()
    await page.locator('#health.ok').waitFor({ timeout: HEALED_MS })
    await fresh.locator('#health.ok').waitFor({ timeout: HEALED_MS })

    for (const one of [page, fresh]) {
      expect(await one.getByText(AWAY).count()).toBe(0)
      await one.close()
    }
    await late.shutdown()
    await bus.shutdown()
  },
)
