// npm run torture -- --bus redis --minutes 10 --seed 7: injects random faults and judges the outcome. See docs/reliability.md.
// npm run torture -- --store postgres does the same to writers, subscriptions and a relay on the durable stores.
import { parseArgs } from 'node:util'
import { tortureStores } from '../test/torture/stores/run.ts'
import { torture } from '../test/torture/torture.ts'

const KINDS = ['redis', 'rabbitmq', 'kafka'] as const
const STORES = ['postgres', 'sqlite'] as const
const { values } = parseArgs({
  options: {
    bus: { type: 'string', default: 'redis' },
    store: { type: 'string' },
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const bus = KINDS.find((name) => name === values.bus)
const store = STORES.find((name) => name === values.store)
const [minutes, seed] = [Number(values.minutes), Number(values.seed)]
const isUnknown = values.store === undefined ? bus === undefined : store === undefined
if (isUnknown || !(minutes > 0) || !Number.isSafeInteger(seed)) {
  const kinds = `--bus ${KINDS.join('|')} or --store ${STORES.join('|')}`
  console.error(`usage: npm run torture -- ${kinds} --minutes 10 --seed 7`)
  process.exit(2)
}

const start = Date.now()
const onProgress = (line: string) =>
  console.log(`${((Date.now() - start) / 1000).toFixed(1).padStart(6)} s  ${line}`)
onProgress(`${store ?? bus}, ${minutes} minutes, seed ${seed}`)
const violations = store === undefined ? await tortureBus() : await tortureStore(store)
onProgress(violations === 0 ? 'no violations' : `${violations} violations with seed ${seed}`)
process.exitCode = violations === 0 ? 0 : 1

/** @returns the number of violations. */
async function tortureBus(): Promise<number> {
  const options = { kind: bus ?? 'redis', seconds: minutes * 60, seed, onProgress }
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
