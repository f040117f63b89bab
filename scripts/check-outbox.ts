// npm run check:outbox -- --minutes 60: does the table of the PostgreSQL outbox stay small under load? See docs/postgres.md.
import { parseArgs } from 'node:util'
import { checkOutbox } from '../test/postgres/outbox-check/run.ts'

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '60' }, rate: { type: 'string', default: '1000' } },
})
const start = performance.now()
const onProgress = (line: string) =>
  console.log(`${((performance.now() - start) / 1000).toFixed(0).padStart(6)} s  ${line}`)
const durationMs = Number(values.minutes) * 60_000
const sampleMs = Math.min(10_000, durationMs / 20)
const { faults, added, published } = await checkOutbox({
  ...{ durationMs, sampleMs, onProgress },
  eventsPerSecond: Number(values.rate),
})
for (const fault of faults) console.log(fault)
onProgress(`${added} events added, ${published} published`)
onProgress(faults.length === 0 ? 'nothing lost, and the table stays small' : `${faults.length} faults`)
process.exitCode = faults.length === 0 ? 0 : 1
