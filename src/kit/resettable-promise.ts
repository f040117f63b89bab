/** A promise that can be settled, and then made pending again. A rejection that nobody awaits is not unhandled. */
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

  /** Makes it pending again; no effect while it is pending. */
  reset(): void {
    if (!this.#isSettled) return
    this.#isSettled = false
    this.#current = pending()
  }
}

function pending(): PromiseWithResolvers<void> {
  const gate = Promise.withResolvers<void>()
  gate.promise.catch(() => undefined)
  return gate
}
