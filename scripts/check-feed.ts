// npm run check:feed -- --events 1000000 --writers 8: loses a reader of the PostgreSQL feed an event? See docs/postgres.md.
import { parseArgs } from 'node:util'
import { checkFeed } from '../test/postgres/feed-check/run.ts'

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '100000' },
    writers: { type: 'string', default: '8' },
    kills: { type: 'string', default: '10' },
    naive: { type: 'boolean', default: false },
  },
})
const start = performance.now()
const onProgress = (line: string) =>
  console.log(`${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${line}`)
const kills = values.naive ? 0 : Number(values.kills)
const { faults, stored, lastPosition, unknown, resumptions, heapMb } = await checkFeed({
  writers: Number(values.writers),
  events: Number(values.events),
  writerKills: Math.ceil(kills / 2),
  serverKills: Math.floor(kills / 2),
  isNaive: values.naive,
  onProgress,
})
for (const fault of faults) console.log(fault)
onProgress(
  `${stored} events stored, the last at position ${lastPosition}, ${unknown} transactions with an unknown outcome, ${resumptions} resumptions`,
)
onProgress(
  `heap ${heapMb.map((mb) => mb.toFixed(0)).join(' MiB after a tenth of the events, ')} MiB at the end`,
)
onProgress(faults.length === 0 ? 'nothing lost, nothing twice' : `${faults.length} faults`)
process.exitCode = faults.length === 0 ? 0 : 1
