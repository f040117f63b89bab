import { EventspineError } from '../errors.ts'

/** A middleware did not call `next` exactly once before it returned. */
export class MiddlewareError extends EventspineError {
  static override readonly name = 'MiddlewareError'
  readonly code = 'MIDDLEWARE_INVALID'

  constructor(problem: string) {
    super(`A middleware ${problem}. Call next() once, and await it.`)
  }
}

/** A function around a piece of work, which `next` starts. */
export type Around<C, V> = (context: C, next: (value?: V) => Promise<void>) => unknown

/**
 * Runs the work within the middleware, the first one outermost. Rejects if the work or a middleware fails; a middleware that
 * catches the error of `next` can replace it by another, and cannot turn it into a success.
 */
export async function runThrough<C, V>(
  list: readonly Around<C, V>[],
  contextOf: (value: V) => C,
  work: (value: V) => Promise<void>,
  value: V,
): Promise<void> {
  const [outermost, ...rest] = list
  if (outermost === undefined) return work(value)
  const step = new Step<V>((given = value) => runThrough(rest, contextOf, work, given))
  await step.run((next) => outermost(contextOf(value), next))
}

/** One middleware, and what it has of the work within. */
class Step<V> {
  readonly #proceed: (value?: V) => Promise<void>
  #within: Promise<void> | undefined
  #isOver = false
  #misuse: MiddlewareError | undefined

  constructor(proceed: (value?: V) => Promise<void>) {
    this.#proceed = proceed
  }

  async run(call: (next: (value?: V) => Promise<void>) => unknown): Promise<void> {
    const outer = await settled(async () => call(this.#next))
    this.#isOver = true
    // The work may still run if the middleware does not await it. No retry may start before it ends.
    const within = await settled(() => this.#within)
    const failure = outer ?? within
    if (failure !== undefined) throw failure.thrown
    if (this.#within === undefined) throw new MiddlewareError('returned without calling next()')
    if (this.#misuse !== undefined) throw this.#misuse
  }

  readonly #next = (value?: V): Promise<void> => {
    if (this.#isOver) return this.#refuse('called next() after it had returned')
    if (this.#within !== undefined) return this.#refuse('called next() twice')
    this.#within = this.#proceed(value)
    return quiet(this.#within)
  }

  #refuse(problem: string): Promise<never> {
    this.#misuse = new MiddlewareError(problem)
    return quiet(Promise.reject(this.#misuse))
  }
}

/** A promise whose rejection is not reported as unhandled. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined)
  return promise
}

/** @returns what it throws or rejects with; undefined if it succeeds. */
async function settled(action: () => unknown): Promise<{ readonly thrown: unknown } | undefined> {
  try {
    await action()
    return undefined
  } catch (thrown) {
    return { thrown }
  }
}
