import type { OrderHandler } from '../broker-bench.ts'
import type { Order } from '../order.ts'

type Settle = (error?: unknown) => void

/** The lanes that a program adds to a bare client: events of one aggregate in sequence, several aggregates concurrently. */
export class Lanes {
  readonly #handlers: readonly OrderHandler[]
  readonly #tails: (Promise<void> | undefined)[]

  constructor(handlers: readonly OrderHandler[], lanes = 16) {
    this.#handlers = handlers
    this.#tails = Array.from({ length: lanes }, () => undefined)
  }

  /** Calls `settle` when the handlers have finished; before returning if all of them are synchronous. */
  run(aggregateId: string, event: Order, settle: Settle): void {
    const lane = Number(aggregateId.slice('Order-'.length)) % this.#tails.length
    const before = this.#tails[lane]
    if (before !== undefined) {
      this.#follow(
        lane,
        before.then(() => this.#call(event)),
        settle,
      )
      return
    }
    try {
      const waiting = this.#call(event)
      if (waiting === undefined) settle()
      else this.#follow(lane, waiting, settle)
    } catch (error) {
      settle(error)
    }
  }

  #call(event: Order): Promise<void> | undefined {
    let waiting: Promise<void>[] | undefined
    for (const handler of this.#handlers) {
      const outcome = handler(event)
      if (outcome === undefined) continue
      waiting ??= []
      waiting.push(outcome)
    }
    if (waiting === undefined || waiting.length < 2) return waiting?.[0]
    return Promise.all(waiting).then(() => undefined)
  }

  #follow(lane: number, work: Promise<void>, settle: Settle): void {
    const tail = work
      .then(() => settle(), settle)
      .then(() => {
        if (this.#tails[lane] === tail) this.#tails[lane] = undefined
      })
    this.#tails[lane] = tail
  }
}
