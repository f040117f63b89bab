// npm run check:tail -- --bus redis: does `eventspine tail` show each event soon, miss none at a high rate, slow down no consumer, and
// stay small when nobody reads its output? Prints a line of JSON for each figure, with its bar. Ends with 1 if one is missed.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs, promisify } from 'node:util'
import { Figures, quantile } from './page/figures.ts'
import { openSystem, Placed } from './page/system.ts'

const { values } = parseArgs({
  options: {
    bus: { type: 'string', default: 'redis' },
    seconds: { type: 'string', default: '30' },
    rate: { type: 'string', default: '5000' },
  },
})
const kind = (['redis', 'rabbitmq', 'kafka'] as const).find((name) => name === values.bus)
if (kind === undefined) throw new Error(`--bus must be redis, rabbitmq or kafka, got ${values.bus}`)
const [seconds, rate] = [Number(values.seconds), Number(values.rate)]
if (!seconds || !rate) throw new Error('--seconds and --rate must be numbers')

const [SLOW_RATE, SLOW_SECONDS] = [100, 20]
const COMMAND = join(import.meta.dirname, '../dist/cli/main.js')
const PRODUCER = join(import.meta.dirname, 'page/producer.ts')

const run = promisify(execFile)
const figures = new Figures(kind)
await using system = await openSystem(kind)
const { url, prefix } = system

const consumer = system.open('billing')
let handled = 0
consumer.subscribe(
  Placed,
  () => {
    handled += 1
  },
  { name: 'charge' },
)
consumer.startConsumingInBackground()
await consumer.whenConsuming()

await produce(rate, 5) // compiles what the measured runs use
const alone = await produce(rate, seconds)

{
  const tail = await startTail()
  const delays: number[] = []
  createInterface(tail.process.stdout).on('line', (line) => {
    delays.push(Date.now() - Date.parse(JSON.parse(line).occurredAt))
  })
  const { sent } = await produce(SLOW_RATE, SLOW_SECONDS)
  await until(() => delays.length >= sent)
  await tail.stop()
  figures.atLeast('L3 events shown, % of those published', (100 * delays.length) / sent, 100)
  figures.atMost('L3 p95 from the event to its line, ms', quantile(delays, 0.95), 300)
}
{
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-tail-'))
  const file = join(folder, 'tail.jsonl')
  const tail = await startTail()
  const written = pipeline(tail.process.stdout, createWriteStream(file))
  const { sent, perSecond } = await produce(rate, seconds)
  await until(() => linesOf(file) >= sent)
  await tail.stop()
  await written
  figures.atMost('L4 events that a file misses', sent - linesOf(file), 0)
  figures.atLeast(
    'L4 throughput of a consumer beside a tail, % of that without',
    (100 * perSecond) / alone.perSecond,
    95,
  )
  rmSync(folder, { recursive: true })
}
{
  const tail = await startTail()
  const { perSecond } = await produce(rate, seconds)
  figures.atMost('L4 memory of a tail that nobody reads, MB', residentMB(tail.process.pid), 200)
  figures.atLeast(
    'L4 throughput of a consumer beside it, % of that without',
    (100 * perSecond) / alone.perSecond,
    95,
  )
  tail.process.kill('SIGKILL')
}
process.exitCode = figures.missed === 0 ? 0 : 1

/** Publishes from another process, and waits until the consumer has handled all. */
async function produce(perSecond: number, forSeconds: number) {
  handled = 0
  const startedAt = performance.now()
  const { stdout } = await run(process.execPath, [
    PRODUCER,
    url,
    prefix,
    String(perSecond),
    String(forSeconds),
  ])
  const sent = Number(stdout)
  await until(() => handled >= sent)
  return { sent, perSecond: handled / ((performance.now() - startedAt) / 1000) }
}

/** A tail that sees every event from now on. */
async function startTail() {
  const command = ['tail', url, '--prefix', prefix, '--jsonl']
  const child = spawn(process.execPath, [COMMAND, ...command], { stdio: ['ignore', 'pipe', 'pipe'] })
  await once(child.stderr, 'data')
  return {
    process: child,
    async stop() {
      child.kill('SIGINT')
      await once(child, 'close')
    },
  }
}

async function until(condition: () => boolean): Promise<void> {
  const startedAt = performance.now()
  while (!condition() && performance.now() - startedAt < 60_000) await wait(5)
}

function linesOf(file: string): number {
  return readFileSync(file).reduce((lines, byte) => lines + (byte === 10 ? 1 : 0), 0)
}

function residentMB(pid: number | undefined): number {
  const [, kB] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kB) / 1024
}
