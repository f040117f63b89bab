import type { EventStore } from '../../store/index.ts'
import type { SuiteRunner } from '../conformance/bus-under-test.ts'

export interface DescribeEventStoreOptions {
  readonly runner: SuiteRunner
  /** Creates an empty store for each test. */
  readonly create: () => EventStore | Promise<EventStore>
  /**
   * Opens a second store on the same data, like another process. Competing writers then use separate connections;
   * without it, they share one store object.
   */
  readonly another?: (store: EventStore) => EventStore | Promise<EventStore>
  /** Called for each store after its test. */
  readonly close?: (store: EventStore) => void | Promise<void>
  /** Number of concurrent writers in the tests of competition. Default 50. */
  readonly writers?: number
  /** Maximum duration of one test, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number
}

/** The environment of one test: a fresh store, and further objects on its data. */
export class StoreScene {
  readonly store: EventStore
  readonly writers: number
  readonly #options: DescribeEventStoreOptions
  readonly #opened: EventStore[]

  static async open(options: DescribeEventStoreOptions): Promise<StoreScene> {
    return new StoreScene(options, await options.create())
  }

  private constructor(options: DescribeEventStoreOptions, store: EventStore) {
    this.#options = options
    this.store = store
    this.writers = options.writers ?? 50
    this.#opened = [store]
  }

  /** Another object on the same data if the options can create one; otherwise the same object. */
  async another(): Promise<EventStore> {
    const another = await this.#options.another?.(this.store)
    if (another === undefined) return this.store
    this.#opened.push(another)
    return another
  }

  async end(): Promise<void> {
    for (const store of this.#opened) await this.#options.close?.(store)
  }
}

/** One test of the suite. */
export interface StoreTest {
  readonly name: string
  readonly run: (scene: StoreScene) => Promise<void>
}

export const storeTest = (name: string, run: StoreTest['run']): StoreTest => ({ name, run })
