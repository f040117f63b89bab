// A producer or a consumer in a separate process: node --expose-gc worker.ts '{...}'; see `WorkerOptions`.
import { setTimeout as delay } from 'node:timers/promises'
import { type BrokerEventBus, type HandlerContext, PublishError, ShutdownError } from '../../src/index.ts'
import { HistoryWriter } from './history.ts'
import { handlesAfterwards, LatenessWatch, openHandles, watchUnhandled } from './process-watch.ts'
import { Random } from './random.ts'
import { SecretWatch } from './secret-watch.ts'
import { createTortureBus, Spoiled, type TortureBusOptions, Tortured } from './torture-bus.ts'
/** The options that the run passes to a process. */
export interface WorkerOptions {
  readonly name: string
  readonly folder: string
  readonly seed: number
  readonly bus: TortureBusOptions
  readonly role: 'producer' | 'consumer'
  /** Handlers of a consumer: `steady` never fails, `flaky` fails as often as the event says. */
  readonly handlers: readonly string[]
  readonly aggregates: number
  /** True if some events of a producer cannot be decoded. */
  readonly hasPoison: boolean
}

/** How a handler misbehaves. `die` also makes a producer end during a publish. */
export type Trouble =
  | { readonly kind: 'die' | 'exit' | 'hang' }
  | { readonly kind: 'block'; readonly ms: number }

// The run wrote the argument, so it has this type.
const options = JSON.parse(process.argv[2] ?? '{}') as WorkerOptions
const history = new HistoryWriter(options.folder, options.name)
const random = new Random(options.seed)
const stopping = new AbortController()
/** The misbehavior of the next handler, or of the next publish. */
let trouble: Trouble | undefined
process.on('SIGTERM', () => stopping.abort())
process.on('message', (message) => {
  // The run sends no other messages.
  trouble = message as Trouble
})
// The channel must not keep the process alive.
process.channel?.unref()
watchUnhandled(history)
const lateness = new LatenessWatch(history)

const handlesBefore = openHandles()
const watch = new SecretWatch((what) => history.record({ kind: 'leaked', what }))
const bus = createTortureBus(options.bus, watch.logger)
bus.onNotice((notice) => watch.look(`notice ${notice.type}`, notice))
const heapBefore = { bytes: 0 }
if (options.role === 'producer') await produce()
else await consume()
await look()
await bus.shutdown({ timeoutMs: 10_000 })
lateness.end()
const handlesAfter = await handlesAfterwards(handlesBefore)
const [stats, heapAfter] = [bus.getStats(), heap()]
history.record({ kind: 'stats', stats, heapBefore: heapBefore.bytes, heapAfter, handlesBefore, handlesAfter })

/** Looks at what an operator sees of the bus, once: health in the middle of the faults would be a load of its own. */
async function look(): Promise<void> {
  watch.look('bus or its statistics', [bus, bus.getStats()])
  watch.look('health', await bus.health({ timeoutMs: 500 }).catch((error: unknown) => error))
}

async function produce(): Promise<void> {
  const next = new Map<string, number>()
  while (!stopping.signal.aborted) {
    const batch = Array.from({ length: random.integer(1, 10) }, () => nextEvent(next))
    await publish(bus, batch)
    await delay(random.integer(10, 60))
    if (heapBefore.bytes === 0) heapBefore.bytes = heap()
  }
}

function nextEvent(next: Map<string, number>): Tortured | Spoiled {
  const aggregateId = `${options.name}-${random.integer(1, options.aggregates)}`
  const n = next.get(aggregateId) ?? 0
  next.set(aggregateId, n + 1)
  if (options.hasPoison && random.oneIn(200)) return new Spoiled({ aggregateId, n, failures: 'none' })
  // Most events succeed at once, some after one or two failures, a few never.
  const failures = random.oneIn(30) ? random.pick([1, 1, 2, 99]) : 0
  return new Tortured({ aggregateId, n, failures })
}

async function publish(bus: BrokerEventBus, batch: readonly (Tortured | Spoiled)[]): Promise<void> {
  for (const event of batch) {
    const isPoison = event instanceof Spoiled && { isPoison: true }
    history.record({ kind: 'published', ...nameOf(event), ...isPoison })
  }
  const publishing = bus.publish(batch)
  if (trouble?.kind === 'die') setTimeout(die, random.integer(0, 3))
  const outcomes = await publishing.then(
    () => batch.map(() => 'stored' as const),
    (error: unknown) => {
      watch.look('error of a publish', error)
      if (!(error instanceof PublishError)) throw error
      return error.outcomes.map(({ status }) => status)
    },
  )
  for (const [index, event] of batch.entries()) {
    const status = outcomes[index] ?? 'unknown'
    history.record({ kind: status === 'stored' ? 'confirmed' : status, ...nameOf(event) })
  }
}

async function consume(): Promise<void> {
  const group = options.bus.consumerGroup
  for (const handler of options.handlers) subscribe(group, handler)
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  heapBefore.bytes = heap()
  history.record({ kind: 'consuming', group })
  // The connections of the bus keep the process alive until then.
  await new Promise((resolve) => stopping.signal.addEventListener('abort', resolve, { once: true }))
}

function subscribe(group: string, handler: string): void {
  const work = async (event: Tortured, { attempt, signal }: HandlerContext) => {
    const fact = { group, handler, ...nameOf(event), attempt }
    history.record({ kind: 'started', ...fact })
    if (random.oneIn(3)) await delay(random.integer(0, 8))
    const now = trouble
    trouble = undefined
    if (now?.kind === 'exit') process.exit(3)
    if (now?.kind === 'block') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, now.ms)
    if (now?.kind === 'hang') return await hang(signal, () => history.record({ kind: 'failed', ...fact }))
    if (handler === 'flaky' && attempt <= event.failures) {
      history.record({ kind: 'failed', ...fact })
      throw new Error('as told')
    }
    history.record({ kind: 'finished', ...fact })
    if (now?.kind === 'die') die()
  }
  bus.subscribe(Tortured, work, { name: handler })
}

function nameOf({ aggregateId, n }: Tortured | Spoiled) {
  return { event: `${aggregateId}#${n}`, aggregate: aggregateId, n }
}

/** Never ends. */
function hang(signal: AbortSignal, failed: () => void): Promise<never> {
  signal.addEventListener('abort', () => {
    // A shutdown that comes first is not a failure of the handler.
    if (!(signal.reason instanceof ShutdownError)) failed()
  })
  return new Promise(() => undefined)
}

/** Ends the process at once, without a shutdown. */
function die(): void {
  process.kill(process.pid, 'SIGKILL')
}

function heap(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}
