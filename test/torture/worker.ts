// A producer or a consumer in a process of its own: node --expose-gc worker.ts '{...}'; see `WorkerOptions`.
import { setTimeout as delay } from 'node:timers/promises'
import { type BrokerEventBus, type HandlerContext, PublishError, ShutdownError } from '../../src/index.ts'
import { HistoryWriter } from './history.ts'
import { handlesAfterwards, LatenessWatch, openHandles, watchUnhandled } from './process-watch.ts'
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

/** What a handler does that it should not; `die` also makes a producer end in the middle of a publish. */
export type Trouble =
  | { readonly kind: 'die' | 'exit' | 'hang' }
  | { readonly kind: 'block'; readonly ms: number }

// The run wrote it.
const options = JSON.parse(process.argv[2] ?? '{}') as WorkerOptions
const history = new HistoryWriter(options.folder, options.name)
const random = new Random(options.seed)
const stopping = new AbortController()
/** What the next handler, or the next publish, is to do. */
let trouble: Trouble | undefined
process.on('SIGTERM', () => stopping.abort())
process.on('message', (message) => {
  // The run sends nothing else.
  trouble = message as Trouble
})
// It is no reason to go on living.
process.channel?.unref()
watchUnhandled(history)
const lateness = new LatenessWatch(history)

const handlesBefore = openHandles()
const bus = await createTortureBus(options.bus)
const heapBefore = { bytes: 0 }
if (options.role === 'producer') await produce()
else await consume()
await bus.shutdown({ timeoutMs: 10_000 })
lateness.end()
const handlesAfter = await handlesAfterwards(handlesBefore)
const [stats, heapAfter] = [bus.getStats(), heap()]
history.tell({ kind: 'stats', stats, heapBefore: heapBefore.bytes, heapAfter, handlesBefore, handlesAfter })

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
  if (trouble?.kind === 'die') setTimeout(die, random.integer(0, 3))
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
  const work = async (event: Tortured, { attempt, signal }: HandlerContext) => {
    const fact = { group, handler, ...nameOf(event), attempt }
    history.tell({ kind: 'started', ...fact })
    if (random.oneIn(3)) await delay(random.integer(0, 8))
    const now = trouble
    trouble = undefined
    if (now?.kind === 'exit') process.exit(3)
    if (now?.kind === 'block') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, now.ms)
    if (now?.kind === 'hang') return await hang(signal, () => history.tell({ kind: 'failed', ...fact }))
    if (handler === 'flaky' && attempt <= event.failures) {
      history.tell({ kind: 'failed', ...fact })
      throw new Error('as told')
    }
    history.tell({ kind: 'finished', ...fact })
    if (now?.kind === 'die') die()
  }
  bus.subscribe(Tortured, work, { name: handler })
}

function nameOf({ aggregateId, n }: Tortured) {
  return { event: `${aggregateId}#${n}`, aggregate: aggregateId, n }
}

/** Never ends. */
function hang(signal: AbortSignal, failed: () => void): Promise<never> {
  signal.addEventListener('abort', () => {
    // A shutdown that comes first is no failure of the handler.
    if (!(signal.reason instanceof ShutdownError)) failed()
  })
  return new Promise(() => undefined)
}

/** Ends here and now, with nothing said to anybody. */
function die(): void {
  process.kill(process.pid, 'SIGKILL')
}

function heap(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}
