/** A promise that can be settled and then made pending again. A rejection without a listener is not reported as unhandled. */
export class ResettablePromise {
  #current = pending()
  #isSettled = false

  get promise(): Promise<void> {
    return this.#current.promise
  }

  resolve(): void {
    this.#isSettled = true
    this.#current.resolve()
  }

  reject(error: Error): void {
    this.#isSettled = true
    this.#current.reject(error)
  }

  /** Replaces a settled promise by a pending one; no-op while it is pending. */
  reset(): void {
    if (!this.#isSettled) return
    this.#isSettled = false
    this.#current = pending()
  }
}

function pending(): PromiseWithResolvers<void> {
  const resolvers = Promise.withResolvers<void>()
  resolvers.promise.catch(() => undefined)
  return resolvers
}
