import type { BrokerEventBus } from '../../index.ts'
import { type Noted, noted } from './events.ts'
import type { Scene, SceneOptions } from './scene.ts'

/** Options of a group whose workers share the aggregates and keep the order of each. */
export const SHARED = {
  consumerGroup: 'shared',
  partitions: 8,
  // Few messages, so that no worker holds most of the events of a test.
  concurrency: 4,
  maxInFlight: 40,
} as const satisfies SceneOptions

/** How long the handlers of every other worker take, in milliseconds: workers that compete overtake each other. */
const HANDLER_MS = [4, 1] as const

/** Rounds that are published together. */
const BACKLOG = 4

/** Rounds that may wait to be handled: more would take the workers longer than a test waits. */
const MAX_BACKLOG = 20

/** A handler started for event number `n` of an aggregate. */
export interface WorkerRun {
  readonly worker: string
  readonly aggregateId: string
  readonly n: number
  /** In nanoseconds, by a clock that all processes of the machine share. */
  readonly time: bigint
}

/** Publishes rounds of one event for each of many aggregates, and has workers that record their runs. */
export class OrderedWorkers {
  readonly runs: WorkerRun[] = []
  readonly #scene: Scene
  readonly #publisher: BrokerEventBus
  readonly #aggregates: readonly string[]
  readonly #gone = new Set<string>()
  #rounds = 0
  #workers = 0

  static async start(scene: Scene, aggregates: number): Promise<OrderedWorkers> {
    const first = await scene.consumer(() => undefined, SHARED)
    await first.shutdown()
    return new OrderedWorkers(scene, await scene.brokerBus(SHARED), aggregates)
  }

  private constructor(scene: Scene, publisher: BrokerEventBus, aggregates: number) {
    this.#scene = scene
    this.#publisher = publisher
    this.#aggregates = Array.from({ length: aggregates }, (_, index) => `Order-${index}`)
  }

  /** Starts a worker in this process. */
  worker(
    worker: string,
    subscribe: (bus: BrokerEventBus, handler: (event: Noted) => unknown) => void,
  ): Promise<BrokerEventBus> {
    const takesMs = HANDLER_MS[this.#workers % 2]
    this.#workers += 1
    const handler = async ({ aggregateId, n }: Noted) => {
      // A process that was killed would run no handler.
      if (this.#gone.has(worker)) return
      this.runs.push({ worker, aggregateId, n, time: process.hrtime.bigint() })
      await new Promise((resolve) => setTimeout(resolve, takesMs))
    }
    return this.#scene.consumer((bus) => subscribe(bus, handler), SHARED)
  }

  /** Makes a worker vanish. Its runs no longer count. */
  async crash(worker: string, bus: BrokerEventBus): Promise<void> {
    this.#gone.add(worker)
    await this.#scene.crash(bus)
  }

  /** Publishes rounds in one call, so that several events of each aggregate wait at the same time. */
  async publish(rounds = BACKLOG): Promise<void> {
    const numbers = Array.from({ length: rounds }, (_, index) => this.#rounds + index)
    this.#rounds += rounds
    await this.#publisher.publish(
      numbers.flatMap((n) => this.#aggregates.map((aggregateId) => noted(aggregateId, n))),
    )
  }

  /** Publishes rounds until a condition is met, not faster than the workers handle them. */
  async publishUntil(
    what: string,
    condition: () => unknown,
    {
      seen = () => '',
      runs = () => this.runs,
    }: { readonly seen?: () => unknown; readonly runs?: () => readonly WorkerRun[] } = {},
  ): Promise<void> {
    let isMet = false
    const end = () => {
      isMet = true
    }
    const met = this.#scene.until(what, condition, seen)
    met.then(end, end)
    do {
      const waiting = this.#published - runs().length
      const isFull = waiting > MAX_BACKLOG * this.#aggregates.length
      await Promise.all([isFull || this.publish(), this.#pause()])
    } while (!isMet)
    await met
  }

  /** Waits until each event of all rounds was handled. @param seen - describes the state if it takes too long. */
  async allHandled(
    runs: () => readonly WorkerRun[] = () => this.runs,
    seen: () => unknown = () => '',
  ): Promise<void> {
    const distinct = () => distinctRuns(runs())
    const isDone = () => distinct().size === this.#published
    const describe = () => `${this.#missing(distinct())} ${String(seen())}`
    await this.#scene.until(`${this.#published} events`, isDone, describe)
  }

  /** The first event of each aggregate that was not handled, and the number of all. */
  #missing(handled: ReadonlySet<string>): string {
    const first = this.#aggregates.flatMap((aggregateId) => {
      const numbers = Array.from({ length: this.#rounds }, (_, n) => `${aggregateId} ${n}`)
      return numbers.find((event) => !handled.has(event)) ?? []
    })
    return `${handled.size}; missing: ${first.join(', ')}`
  }

  /** True if each event of all rounds was handled. */
  isDone(): boolean {
    return distinctRuns(this.runs).size === this.#published
  }

  get #published(): number {
    return this.#rounds * this.#aggregates.length
  }

  /** Leaves the processors to the workers. */
  #pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function distinctRuns(runs: readonly WorkerRun[]): ReadonlySet<string> {
  return new Set(runs.map(({ aggregateId, n }) => `${aggregateId} ${n}`))
}

/**
 * The faults in the order of each aggregate. After a crash, the events of an aggregate may come again from an earlier one
 * on, but then each of its successors is repeated, too: no event follows one that is not its predecessor or later.
 */
export function orderFaults(runs: readonly WorkerRun[]): readonly string[] {
  const ordered = runs.toSorted((a, b) => (a.time < b.time ? -1 : 1))
  return [...Map.groupBy(ordered, ({ aggregateId }) => aggregateId)].flatMap(([aggregateId, ofOne]) => {
    const highest = Math.max(...ofOne.map(({ n }) => n))
    const end = ofOne.at(-1)?.n === highest ? [] : [`${aggregateId} does not end with ${highest}`]
    return ofOne
      .flatMap(({ n, worker }, index) => {
        const previous = ofOne[index - 1]
        return n <= (previous?.n ?? -1) + 1
          ? []
          : [`${aggregateId}: ${n} in ${worker} after ${previous?.n} in ${previous?.worker}`]
      })
      .concat(end)
  })
}

/**
 * The runs of events whose predecessors had not all been handled. A crash can repeat an event that was handled before, so
 * only first successes count.
 */
export function overtaking(runs: readonly WorkerRun[], failures: ReadonlySet<WorkerRun>): readonly string[] {
  const next = new Map<string, number>()
  const ordered = runs.toSorted((a, b) => (a.time < b.time ? -1 : 1))
  return ordered.flatMap((run) => {
    const { aggregateId, n, worker } = run
    const expected = next.get(aggregateId) ?? 0
    if (n > expected) return [`${aggregateId}: ${n} in ${worker} before ${expected} was handled`]
    if (n === expected && !failures.has(run)) next.set(aggregateId, n + 1)
    return []
  })
}
