/** Options of `runUntilShutdown`. */
export interface RunUntilShutdownOptions {
  /** Signals that request a shutdown of the process. Default SIGTERM and SIGINT. */
  readonly signals?: readonly NodeJS.Signals[] | undefined
  /** Maximum duration of the stop, in milliseconds. Default: `shutdownTimeoutMs`. */
  readonly timeoutMs?: number | undefined
}

/** A signal requested a shutdown of the process. */
export interface ShutdownRequest {
  readonly reason: NodeJS.Signals
  /** Aborts on a second signal. */
  readonly again: AbortSignal
  /** Stops listening. A further signal then has its default effect. */
  end(): void
}

/** Resolves on the first of the signals. */
export function whenAsked(
  signals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT'],
): Promise<ShutdownRequest> {
  const asked = Promise.withResolvers<ShutdownRequest>()
  const again = new AbortController()
  let isAsked = false
  const listener = (reason: NodeJS.Signals) => {
    if (isAsked) again.abort()
    isAsked = true
    asked.resolve({ reason, again: again.signal, end })
  }
  const end = () => {
    for (const signal of signals) process.off(signal, listener)
  }
  for (const signal of signals) process.on(signal, listener)
  return asked.promise
}
