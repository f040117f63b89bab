/** Connects a transport once. After that, the transport reconnects on its own. */
export class FirstConnection {
  readonly #connect: () => Promise<void>
  #connecting: Promise<void> | undefined
  #isDone = false

  constructor(connect: () => Promise<void>) {
    this.#connect = connect
  }

  /** True if the first connection was made; the transport may have lost it since. */
  get isDone(): boolean {
    return this.#isDone
  }

  /** No-op once connected. Concurrent callers share one attempt; after a failure the next call tries again. */
  async ensure(): Promise<void> {
    if (this.#isDone) return
    this.#connecting ??= this.#attempt().finally(() => {
      this.#connecting = undefined
    })
    await this.#connecting
  }

  async #attempt(): Promise<void> {
    await this.#connect()
    this.#isDone = true
  }
}
