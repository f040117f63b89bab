import type { EventClass } from '../../index.ts'
import type { EventStore } from '../../store/index.ts'
import type { Stores } from '../../subscriptions/index.ts'
import type { SuiteRunner } from '../conformance/bus-under-test.ts'
import type { StoreCapability, StoreWriter } from './store-under-test.ts'
import { Filed, Noted, Sampled } from './stored-events.ts'

export interface DescribeStoresOptions<S extends Stores = Stores> {
  readonly runner: SuiteRunner
  /** Creates empty stores for each test, whose event store knows these event classes. The suite closes them. */
  readonly create: (eventClasses: readonly EventClass[]) => S | Promise<S>
  /** Opens a second object on the same data, like another process. Without it, the tests share one object. */
  readonly another?: (stores: S) => S | Promise<S>
  /** Starts a process that calls `writeForever` on the same data. Without it, the tests with killed writers are skipped. */
  readonly startWriter?: (stores: S) => StoreWriter | Promise<StoreWriter>
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
}

export interface StoresTest {
  readonly name: string
  readonly run: (scene: StoresScene) => Promise<void>
}

export const storesTest = (name: string, run: StoresTest['run']): StoresTest => ({ name, run })
