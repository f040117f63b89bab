// npm run torture -- --bus redis --minutes 10 --seed 7: injects random faults and judges the outcome. See docs/reliability.md.
import { parseArgs } from 'node:util'
import { torture } from '../test/torture/torture.ts'

const KINDS = ['redis', 'rabbitmq', 'kafka'] as const
const { values } = parseArgs({
  options: {
    bus: { type: 'string', default: 'redis' },
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const kind = KINDS.find((name) => name === values.bus)
const [minutes, seed] = [Number(values.minutes), Number(values.seed)]
if (kind === undefined || !(minutes > 0) || !Number.isSafeInteger(seed)) {
  console.error(`usage: npm run torture -- --bus ${KINDS.join('|')} --minutes 10 --seed 7`)
  process.exit(2)
}

const start = Date.now()
const onProgress = (line: string) =>
  console.log(`${((Date.now() - start) / 1000).toFixed(1).padStart(6)} s  ${line}`)
onProgress(`${kind}, ${minutes} minutes, seed ${seed}`)
const { violations, recoveries, counts, report } = await torture({
  kind,
  seconds: minutes * 60,
  seed,
  onProgress,
})
for (const { fault, who, ms } of recoveries) onProgress(`${who} recovered ${ms ?? 'more'} ms after ${fault}`)
onProgress(
  Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', '),
)
if (violations.length > 0) console.error(report)
onProgress(violations.length === 0 ? 'no violations' : `${violations.length} violations with seed ${seed}`)
process.exitCode = violations.length === 0 ? 0 : 1
