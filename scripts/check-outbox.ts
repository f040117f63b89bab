// npm run check:outbox -- --backlog 1000000 --store postgres: does a relay that was down catch up with flat memory?
// npm run check:outbox -- --minutes 60: does the table of the PostgreSQL outbox stay small under load? See docs/postgres.md.
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { dataFolder } from '../test/brokers/data-folder.ts'
import { launchBroker } from '../test/brokers/launch-broker.ts'
import { checkBacklog } from '../test/postgres/outbox-check/backlog.ts'
import { checkOutbox } from '../test/postgres/outbox-check/load.ts'

const { values } = parseArgs({
  options: {
    backlog: { type: 'string' },
    store: { type: 'string', default: 'sqlite' },
    minutes: { type: 'string', default: '60' },
    rate: { type: 'string', default: '1000' },
  },
})
const start = performance.now()
const onProgress = (line: string) =>
  console.log(`${((performance.now() - start) / 1000).toFixed(0).padStart(6)} s  ${line}`)

const faults = values.backlog === undefined ? await underLoad() : await afterOutage(Number(values.backlog))
for (const fault of faults) console.log(fault)
onProgress(faults.length === 0 ? 'no faults' : `${faults.length} faults`)
process.exitCode = faults.length === 0 ? 0 : 1

async function afterOutage(events: number): Promise<readonly string[]> {
  const folder = await mkdtemp(join(dataFolder, 'eventspine-outbox-'))
  const server = values.store === 'postgres' ? await launchBroker('postgres') : undefined
  const file = { file: join(folder, 'outbox.db') }
  const place = server === undefined ? file : { postgresUrl: server.url, schema: 'check_outbox' }
  try {
    return await checkBacklog({ place, events, onProgress })
  } finally {
    await server?.dispose()
    await rm(folder, { recursive: true, force: true })
  }
}

async function underLoad(): Promise<readonly string[]> {
  const durationMs = Number(values.minutes) * 60_000
  const { faults, added, published } = await checkOutbox({
    ...{ durationMs, sampleMs: Math.min(10_000, durationMs / 20), onProgress },
    eventsPerSecond: Number(values.rate),
  })
  onProgress(`${added} events added, ${published} published`)
  return faults
}
