// npm run check:outage -- --bus redis --seconds 120 --rate 500: does a handler recover from an outage of a server that it calls?
import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import { BrokerEventBus, createEventBus } from '../src/index.ts'
import { launchBroker } from '../test/brokers/launch-broker.ts'
import { runOutage } from '../test/support/handler-outage.ts'

const { values } = parseArgs({
  options: {
    bus: { type: 'string', default: 'redis' },
    seconds: { type: 'string', default: '120' },
    rate: { type: 'string', default: '500' },
    within: { type: 'string', default: '30' },
  },
})
const kind = (['redis', 'rabbitmq', 'kafka'] as const).find((name) => name === values.bus)
if (kind === undefined) throw new Error(`--bus must be redis, rabbitmq or kafka, got ${values.bus}`)
await using broker = await launchBroker(kind)
const url = kind === 'kafka' ? `kafka://${broker.url}` : broker.url
const prefix = `outage-${randomUUID().slice(0, 8)}`
const silent = () => undefined
const logger = { debug: silent, info: silent, warn: silent, error: silent }
const start = performance.now()
const report = await runOutage({
  createBus: (options) => {
    const bus = createEventBus(url, { ...options, prefix, logger })
    if (bus instanceof BrokerEventBus) return bus
    throw new Error(`${url} is not the URL of a broker`)
  },
  outageMs: Number(values.seconds) * 1000,
  ratePerSecond: Number(values.rate),
  onProgress: (line) =>
    console.log(`${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${line}`),
})
console.log(report)
const { published, handled, outOfOrder, deadLetters, caughtUpAfterMs } = report
const isKept = handled === published && outOfOrder === 0 && deadLetters === 0
process.exitCode = isKept && caughtUpAfterMs <= Number(values.within) * 1000 ? 0 : 1
