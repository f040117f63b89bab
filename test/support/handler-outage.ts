import { setTimeout as delay } from 'node:timers/promises'
import type { BrokerEventBus, BrokerOptions } from '../../src/index.ts'
import { freePort } from '../brokers/free-port.ts'
import { Dependency } from './dependency.ts'
import { OrderShipped, orderShipped } from './order-events.ts'

const AGGREGATES = 97
/** How long events are published before and after the outage, in milliseconds. */
const AROUND_MS = 1000

export interface OutageRun {
  readonly createBus: (options: BrokerOptions) => BrokerEventBus
  readonly outageMs: number
  readonly ratePerSecond: number
  readonly onProgress?: (line: string) => void
}

export interface OutageReport {
  readonly published: number
  /** Events whose handler succeeded, each counted once. */
  readonly handled: number
  /** Events that were handled before an earlier one of their aggregate. */
  readonly outOfOrder: number
  readonly deadLetters: number
  readonly notices: readonly string[]
  /** From the return of the dependency until the handler resumed, in milliseconds. */
  readonly resumedAfterMs: number
  /** From the return of the dependency until no event waited, in milliseconds. */
  readonly caughtUpAfterMs: number
  /** CPU time of the process in that time, in milliseconds. */
  readonly cpuMs: number
  /** Most events that the bus held. */
  readonly mostInFlight: number
  /** Every tenth of the outage, after a garbage collection if the process exposes it. */
  readonly heapMb: readonly number[]
}

/**
 * Publishes events at a steady rate while a server that their handler calls is down for some time, and waits until all are
 * handled.
 */
export async function runOutage({
  createBus,
  outageMs,
  ratePerSecond,
  onProgress,
}: OutageRun): Promise<OutageReport> {
  await using dependency = await Dependency.start(await freePort())
  await using bus = createBus({ consumerGroup: 'main' })
  await using publisher = createBus({})
  const seen = new Seen()
  let resumedAt = 0
  let mostInFlight = 0
  const notices: string[] = []
  bus.onNotice(({ type }) => {
    notices.push(type)
    if (type === 'handlerResumed') resumedAt = performance.now()
    onProgress?.(type)
  })
  const handle = async (event: OrderShipped) => {
    mostInFlight = Math.max(mostInFlight, bus.getStats().inFlight)
    await dependency.call()
    seen.add(event)
  }
  // The retries last longer than it takes ten events to fail.
  const policy = { maxRetries: 2, retryBaseDelayMs: 1000, retryMaxDelayMs: 2000, outageGuard: true }
  bus.subscribe(OrderShipped, handle, { name: 'guarded', ...policy })
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  const source = new Source(publisher, ratePerSecond, seen)

  await source.publishFor(AROUND_MS)
  await dependency.down()
  onProgress?.('the dependency is down')
  const heapMb: number[] = []
  for (let tenth = 0; tenth < 10; tenth += 1) {
    await source.publishFor(outageMs / 10)
    globalThis.gc?.()
    heapMb.push(Math.round(process.memoryUsage().heapUsed / 1e6))
  }
  await dependency.up()
  onProgress?.('the dependency is back')
  const [backAt, cpu] = [performance.now(), process.cpuUsage()]
  await source.publishFor(AROUND_MS)
  while (seen.count + bus.getStats().messagesSentToDlq < source.published) await delay(10)
  const { user, system } = process.cpuUsage(cpu)
  return {
    published: source.published,
    handled: seen.count,
    outOfOrder: seen.outOfOrder,
    deadLetters: await bus.deadLetters.count(),
    notices,
    resumedAfterMs: Math.round(resumedAt - backAt),
    caughtUpAfterMs: Math.round(performance.now() - backAt),
    cpuMs: Math.round((user + system) / 1000),
    mostInFlight,
    heapMb,
  }
}

/** The events that were handled. A redelivered event counts once. */
class Seen {
  readonly #numbers = new Map<string, number>()
  readonly #last = new Map<string, number>()
  #count = 0
  outOfOrder = 0

  get count(): number {
    return this.#count
  }

  published(eventId: string, n: number): void {
    this.#numbers.set(eventId, n)
  }

  add({ eventId, aggregateId }: OrderShipped): void {
    const n = this.#numbers.get(eventId)
    if (n === undefined) return
    this.#numbers.delete(eventId)
    this.#count += 1
    if (n < (this.#last.get(aggregateId) ?? -1)) this.outOfOrder += 1
    this.#last.set(aggregateId, n)
  }
}

/** Publishes numbered events at a rate. */
class Source {
  readonly #bus: BrokerEventBus
  readonly #ratePerSecond: number
  readonly #seen: Seen
  #published = 0

  constructor(bus: BrokerEventBus, ratePerSecond: number, seen: Seen) {
    this.#bus = bus
    this.#ratePerSecond = ratePerSecond
    this.#seen = seen
  }

  get published(): number {
    return this.#published
  }

  async publishFor(ms: number): Promise<void> {
    const [start, before] = [performance.now(), this.#published]
    const total = Math.round((ms / 1000) * this.#ratePerSecond)
    while (this.#published - before < total) {
      const due = Math.min(total, Math.floor(((performance.now() - start) / 1000) * this.#ratePerSecond))
      const count = Math.min(500, due - (this.#published - before))
      const events = Array.from({ length: count }, () => this.#next())
      if (count > 0) await this.#bus.publish(events)
      else await delay(10)
    }
  }

  #next(): OrderShipped {
    const event = orderShipped(`Order-${this.#published % AGGREGATES}`)
    this.#seen.published(event.eventId, this.#published)
    this.#published += 1
    return event
  }
}
