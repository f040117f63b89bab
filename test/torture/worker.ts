// A producer or a consumer in a process of its own: node --expose-gc worker.ts '{...}'; see `WorkerOptions`.
import { setTimeout as delay } from 'node:timers/promises'
import { type BrokerEventBus, PublishError } from '../../src/index.ts'
import { HistoryWriter } from './history.ts'
import { Random } from './random.ts'
import { createTortureBus, type TortureBusOptions, Tortured } from './torture-bus.ts'

/** What the run tells a process. */
export interface WorkerOptions {
  readonly name: string
  readonly folder: string
  readonly seed: number
  readonly bus: TortureBusOptions
  readonly role: 'producer' | 'consumer'
  /** Handlers of a consumer: `steady` never fails, `flaky` as often as the event says. */
  readonly handlers: readonly string[]
  readonly aggregates: number
}

// The run wrote it.
const options = JSON.parse(process.argv[2] ?? '{}') as WorkerOptions
const history = new HistoryWriter(options.folder, options.name)
const random = new Random(options.seed)
const stopping = new AbortController()
let mustDie = false
process.on('SIGTERM', () => stopping.abort())
process.on('SIGUSR2', () => {
  mustDie = true
})

const bus = await createTortureBus(options.bus)
const heapBefore = { bytes: 0 }
if (options.role === 'producer') await produce()
else await consume()
await bus.shutdown({ timeoutMs: 10_000 })
history.tell({ kind: 'stats', stats: bus.getStats(), heapBefore: heapBefore.bytes, heapAfter: heap() })
history.close()

async function produce(): Promise<void> {
  const next = new Map<string, number>()
  while (!stopping.signal.aborted) {
    const batch = Array.from({ length: random.integer(1, 10) }, () => nextEvent(next))
    await publish(bus, batch)
    await delay(random.integer(10, 60))
    if (heapBefore.bytes === 0) heapBefore.bytes = heap()
  }
}

function nextEvent(next: Map<string, number>): Tortured {
  const aggregateId = `${options.name}-${random.integer(1, options.aggregates)}`
  const n = next.get(aggregateId) ?? 0
  next.set(aggregateId, n + 1)
  // Most succeed at once, some after one or two failures, a few never.
  const failures = random.oneIn(30) ? random.pick([1, 1, 2, 99]) : 0
  return new Tortured({ aggregateId, n, failures })
}

async function publish(bus: BrokerEventBus, batch: readonly Tortured[]): Promise<void> {
  for (const event of batch) history.tell({ kind: 'published', ...nameOf(event) })
  const publishing = bus.publish(batch)
  if (mustDie) setTimeout(die, random.integer(0, 3))
  const outcomes = await publishing.then(
    () => batch.map(() => 'stored' as const),
    (error: unknown) => {
      if (!(error instanceof PublishError)) throw error
      return error.outcomes.map(({ status }) => status)
    },
  )
  for (const [index, event] of batch.entries()) {
    const status = outcomes[index] ?? 'unknown'
    history.tell({ kind: status === 'stored' ? 'confirmed' : status, ...nameOf(event) })
  }
}

async function consume(): Promise<void> {
  const group = options.bus.consumerGroup
  for (const handler of options.handlers) subscribe(group, handler)
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  heapBefore.bytes = heap()
  history.tell({ kind: 'consuming', group })
  // The bus's connections keep the process alive until then.
  await new Promise((resolve) => stopping.signal.addEventListener('abort', resolve, { once: true }))
}

function subscribe(group: string, handler: string): void {
  const work = async (event: Tortured, { attempt }: { readonly attempt: number }) => {
    const fact = { group, handler, ...nameOf(event), attempt }
    history.tell({ kind: 'started', ...fact })
    if (random.oneIn(3)) await delay(random.integer(0, 8))
    if (handler === 'flaky' && attempt <= event.failures) {
      history.tell({ kind: 'failed', ...fact })
      throw new Error('as told')
    }
    history.tell({ kind: 'finished', ...fact })
    if (mustDie) die()
  }
  bus.subscribe(Tortured, work, { name: handler })
}

function nameOf({ aggregateId, n }: Tortured) {
  return { event: `${aggregateId}#${n}`, aggregate: aggregateId, n }
}

/** Ends here and now, with nothing said to anybody. */
function die(): void {
  process.kill(process.pid, 'SIGKILL')
}

function heap(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}
