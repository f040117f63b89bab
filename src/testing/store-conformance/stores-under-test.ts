import type { EventClass } from '../../index.ts'
import type { EventStore } from '../../store/index.ts'
import type { Stores } from '../../subscriptions/index.ts'
import type { SuiteRunner } from '../conformance/bus-under-test.ts'
import { type StartRelay, startManagerRelay } from './relay-under-test.ts'
import type { StoreCapability, StoreWriter } from './store-under-test.ts'
import { Filed, Noted, Sampled } from './stored-events.ts'

/** Options of `describeStores`, `describeInbox` and `describeOutbox`. */
export interface DescribeStoresOptions<S extends Stores = Stores> {
  readonly runner: SuiteRunner
  /** Creates empty stores for each test, whose event store knows these event classes. The suite closes them. */
  readonly create: (eventClasses: readonly EventClass[]) => S | Promise<S>
  /** Opens a second object on the same data, like another process. Without it, the tests share one object. */
  readonly another?: (stores: S) => S | Promise<S>
  /** Starts a process that calls `writeForever` on the same data. Without it, the tests with killed writers are skipped. */
  readonly startWriter?: (stores: S) => StoreWriter | Promise<StoreWriter>
  /** Starts the relay under test. Default: the relay of a `SubscriptionManager`. */
  readonly startRelay?: StartRelay
  /** Capabilities that the stores lack, each with a reason. */
  readonly lacks?: Partial<Readonly<Record<StoreCapability, string>>>
  /** Called after each test, when its stores are closed. */
  readonly cleanUp?: (stores: S) => void | Promise<void>
  /** Number of concurrent writers in the competition tests. Default 50. */
  readonly writers?: number
  /** Maximum duration of one test, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number
}

/** Opens stores for tests, and finds the stores that an event store belongs to. */
export class StoresOpener<S extends Stores> {
  readonly #options: DescribeStoresOptions<S>
  readonly #owners = new Map<EventStore, S>()
  readonly #first = new Set<S>()

  constructor(options: DescribeStoresOptions<S>) {
    this.#options = options
  }

  async create(): Promise<S> {
    const stores = await this.#options.create([Noted, Filed, Sampled])
    this.#first.add(stores)
    return this.#remember(stores)
  }

  /** Undefined if all tests share one object. */
  async another(stores: S): Promise<S | undefined> {
    const another = await this.#options.another?.(stores)
    another?.events.registerEvents([Noted, Filed, Sampled])
    return another === undefined ? undefined : this.#remember(another)
  }

  ownerOf(events: EventStore): S {
    const owner = this.#owners.get(events)
    if (owner === undefined) throw new Error('not an event store of this suite')
    return owner
  }

  async close(stores: S): Promise<void> {
    this.#owners.delete(stores.events)
    await stores.close()
    if (this.#first.delete(stores)) await this.#options.cleanUp?.(stores)
  }

  #remember(stores: S): S {
    this.#owners.set(stores.events, stores)
    return stores
  }
}

/** The environment of one test: fresh stores, and a second object on their data. */
export interface StoresScene {
  readonly stores: Stores
  /** Another object on the same data if the options can open one; otherwise the same object. */
  readonly other: Stores
  readonly startRelay: StartRelay
}

export interface StoresTest {
  readonly name: string
  readonly needs: readonly StoreCapability[]
  readonly run: (scene: StoresScene) => Promise<void>
}

export const storesTest = (
  name: string,
  run: StoresTest['run'],
  needs: readonly StoreCapability[] = [],
): StoresTest => ({ name, needs, run })

/** Describes tests, each with fresh stores. Tests that need a missing capability are skipped with the reason. */
export function describeTopic<S extends Stores>(
  topic: string,
  tests: readonly StoresTest[],
  opener: StoresOpener<S>,
  options: DescribeStoresOptions<S>,
): void {
  const { runner, lacks, timeoutMs = 30_000 } = options
  runner.describe(topic, () => {
    for (const test of tests) {
      const missing = test.needs.find((capability) => lacks?.[capability] !== undefined)
      if (missing === undefined) runner.it(test.name, () => runTest(test, opener, options), timeoutMs)
      else runner.it.skip(`${test.name} (lacks ${missing}: ${lacks?.[missing]})`, () => Promise.resolve())
    }
  })
}

async function runTest<S extends Stores>(
  test: StoresTest,
  opener: StoresOpener<S>,
  { startRelay = startManagerRelay }: DescribeStoresOptions<S>,
): Promise<void> {
  const stores = await opener.create()
  try {
    const another = await opener.another(stores)
    try {
      await test.run({ stores, other: another ?? stores, startRelay })
    } finally {
      if (another !== undefined) await opener.close(another)
    }
  } finally {
    await opener.close(stores)
  }
}
