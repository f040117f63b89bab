import type { EventBus } from '../bus/index.ts'

/** Names a part of the state of a handler, and creates it with the first use. */
export interface StateKey<T> {
  readonly create: (parts: StateParts) => T
}

/** What a part of the state may use. */
export interface StateParts {
  /** Aborts when the handler is closed. */
  readonly closed: AbortSignal
  readonly buses: ReadonlyMap<string, EventBus>
}

/** What a handler keeps between requests: samples, jobs, readers. Each page has its own part. */
export class HandlerState {
  readonly #parts: StateParts
  readonly #values = new Map<StateKey<unknown>, unknown>()

  constructor(parts: StateParts) {
    this.#parts = parts
  }

  get<T>(key: StateKey<T>): T {
    if (!this.#values.has(key)) this.#values.set(key, key.create(this.#parts))
    // It was created by this very key.
    return this.#values.get(key) as T
  }
}
