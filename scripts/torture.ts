// npm run torture -- --bus redis --minutes 10 --seed 7: injects random faults and judges the outcome. See docs/reliability.md.
// npm run torture -- --partitions 8 does the same to a group that is ordered across its consumers.
// npm run torture -- --store postgres does the same to writers, subscriptions and a relay on the durable stores.
// npm run torture -- --effects --bus kafka --store postgres kills each process between an order and its effects 50 times.
import { parseArgs } from 'node:util'
import { launchBroker } from '../test/brokers/launch-broker.ts'
import { measurePace } from '../test/support/pace.ts'
import { tortureEffects } from '../test/torture/effects/run.ts'
import { tortureStores } from '../test/torture/stores/run.ts'
import { torture } from '../test/torture/torture.ts'
import { launchTortureBroker } from '../test/torture/torture-broker.ts'

const KINDS = ['redis', 'rabbitmq', 'kafka'] as const
const STORES = ['postgres', 'sqlite'] as const
const { values } = parseArgs({
  options: {
    bus: { type: 'string', default: 'redis' },
    store: { type: 'string' },
    effects: { type: 'boolean', default: false },
    kills: { type: 'string', default: '50' },
    orders: { type: 'string', default: '10000' },
    minutes: { type: 'string', default: '1' },
    partitions: { type: 'string', default: '1' },
    events: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const bus = KINDS.find((name) => name === values.bus)
const store = STORES.find((name) => name === values.store)
const [minutes, seed] = [Number(values.minutes), Number(values.seed)]
const partitions = Number(values.partitions)
const [kills, orders] = [Number(values.kills), Number(values.orders)]
const events = values.events === undefined ? undefined : Number(values.events)
const isUnknown = bus === undefined || (values.store !== undefined && store === undefined)
const areNumbers = minutes > 0 && [seed, kills, orders, partitions, events ?? 0].every(Number.isSafeInteger)
if (isUnknown || !areNumbers) {
  const [buses, places] = [`--bus ${KINDS.join('|')}`, `--store ${STORES.join('|')}`]
  console.error(`usage: npm run torture -- ${buses} or ${places} --minutes 10 --seed 7`)
  console.error(`       npm run torture -- ${buses} --partitions 8 --minutes 10 (or --events 50000) --seed 7`)
  console.error(`       npm run torture -- --effects ${buses} ${places} --kills 50 --orders 10000 --seed 7`)
  process.exit(2)
}

await measurePace()
const start = Date.now()
const onProgress = (line: string) =>
  console.log(`${((Date.now() - start) / 1000).toFixed(1).padStart(6)} s  ${line}`)
const extent = values.effects
  ? `${bus} and ${store ?? 'sqlite'}, ${kills} kills`
  : `${store ?? bus}, ${events === undefined ? `${minutes} minutes` : `${events} events`}`
onProgress(`${extent}, seed ${seed}`)
const violations = await run()
onProgress(violations === 0 ? 'no violations' : `${violations} violations with seed ${seed}`)
process.exitCode = violations === 0 ? 0 : 1

/** @returns the number of violations. */
async function run(): Promise<number> {
  if (values.effects) return tortureTheEffects()
  return store === undefined ? tortureBus() : tortureStore(store)
}

async function tortureTheEffects(): Promise<number> {
  await using broker = await launchTortureBroker(bus ?? 'redis')
  await using server = store === 'postgres' ? await launchBroker('postgres') : undefined
  const result = await tortureEffects({
    ...{ bus: bus ?? 'redis', port: broker.port, orders, kills, seed, onProgress, longestLifeMs: 5000 },
    ...(server !== undefined && { postgresUrl: server.url }),
  })
  for (const [role, phases] of Object.entries(result.phases)) {
    const counts = Object.entries(phases).map(([phase, count]) => `${count} ${phase}`)
    onProgress(`${role} killed: ${counts.join(', ')}`)
  }
  onProgress(`rows left in the outbox: ${result.unpublished}`)
  for (const violation of result.violations.slice(0, 100)) console.error(violation)
  return result.violations.length
}

async function tortureBus(): Promise<number> {
  const extent = { seconds: minutes * 60, ...(events !== undefined && { events }) }
  const options = { kind: bus ?? 'redis', ...extent, seed, partitions, onProgress }
  const { violations, recoveries, counts, report } = await torture(options)
  for (const { fault, who, ms } of recoveries)
    onProgress(`${who} recovered ${ms ?? 'more'} ms after ${fault}`)
  const texts = Object.entries(counts).map(([name, count]) => `${name} ${count}`)
  onProgress(texts.join(', '))
  if (violations.length > 0) console.error(report)
  return violations.length
}

async function tortureStore(kind: (typeof STORES)[number]): Promise<number> {
  const { violations, faults, stored, handled } = await tortureStores({
    ...{ kind, seconds: minutes * 60, seed, onProgress },
  })
  onProgress(`${faults.length} faults, ${stored} events stored, ${handled} runs of handlers`)
  for (const violation of violations) console.error(violation)
  return violations.length
}
