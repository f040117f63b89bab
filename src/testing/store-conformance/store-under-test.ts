import type { EventClass } from '../../index.ts'
import type { EventStore, StreamStore } from '../../store/index.ts'
import type { SuiteRunner } from '../conformance/bus-under-test.ts'
import { Filed, Noted, Sampled } from './stored-events.ts'

/** Capabilities that a store may lack. A test that needs a missing one is skipped, with the reason. */
export const STORE_CAPABILITIES = {
  transactions: 'appends in a transaction of the caller',
  concurrentTransactions: 'lets others write while a transaction is open',
  writerProcesses: 'is written by other processes, which may be killed',
} as const

/** The name of a capability that a store may lack. */
export type StoreCapability = keyof typeof STORE_CAPABILITIES

/** A process that writes to the store under test until it is killed. */
export interface StoreWriter {
  /** The ids of the events whose append was confirmed, in order. */
  readonly acknowledged: readonly string[]
  /** Kills it with SIGKILL. Resolves when it is dead. */
  kill(): Promise<void>
}

/** Runs work on a store in one transaction, and rolls it back when the work fails. */
export type TransactionOn = (
  store: EventStore,
  work: (events: StreamStore) => Promise<void>,
) => Promise<unknown>

/** Options of `describeEventStore`. */
export interface DescribeEventStoreOptions {
  readonly runner: SuiteRunner
  /** Makes an empty store for each test, which knows these event classes. */
  readonly create: (eventClasses: readonly EventClass[]) => EventStore | Promise<EventStore>
  /**
   * Opens a second store on the same data, like another process. Competing writers then use separate connections;
   * without it, they share one store object.
   */
  readonly another?: (store: EventStore) => EventStore | Promise<EventStore>
  /** Runs work in a transaction. Without it, the tests of transactions are skipped. */
  readonly transaction?: TransactionOn
  /** Starts a process that calls `writeForever` on the same data. Without it, the tests with killed writers are skipped. */
  readonly startWriter?: (store: EventStore) => StoreWriter | Promise<StoreWriter>
  /** Capabilities that the store lacks, each with a reason. The names of skipped tests show the reason. */
  readonly lacks?: Partial<Readonly<Record<StoreCapability, string>>>
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
  readonly #writers: StoreWriter[] = []

  static async open(options: DescribeEventStoreOptions): Promise<StoreScene> {
    return new StoreScene(options, await options.create([Noted, Filed, Sampled]))
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
    if (another === undefined || another === this.store) return this.store
    this.#opened.push(another)
    return another
  }

  /** Runs work in a transaction; to be called only by a test that needs them. */
  transaction(work: (events: StreamStore) => Promise<void>, store = this.store): Promise<unknown> {
    const { transaction } = this.#options
    if (transaction === undefined) throw new Error('the store has no transactions')
    return transaction(store, work)
  }

  /** To be called only by a test that needs writer processes. */
  async startWriter(): Promise<StoreWriter> {
    const writer = await this.#options.startWriter?.(this.store)
    if (writer === undefined) throw new Error('the store has no writer processes')
    this.#writers.push(writer)
    return writer
  }

  async end(): Promise<void> {
    for (const writer of this.#writers) await writer.kill()
    for (const store of this.#opened.toReversed()) await this.#options.close?.(store)
  }
}

/** One test of the suite. */
export interface StoreTest {
  readonly name: string
  readonly needs: readonly StoreCapability[]
  readonly run: (scene: StoreScene) => Promise<void>
}

export function storeTest(
  name: string,
  run: StoreTest['run'],
  needs: readonly StoreCapability[] = [],
): StoreTest {
  return { name, needs, run }
}
