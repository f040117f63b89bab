export interface RunUntilShutdownOptions {
  /** Signals that ask the process to end. Default SIGTERM and SIGINT. */
  readonly signals?: readonly NodeJS.Signals[] | undefined
  /** Longest time of the stop, in milliseconds. Default: `shutdownTimeoutMs`. */
  readonly timeoutMs?: number | undefined
}

/** The process was asked to end. */
export interface ShutdownRequest {
  readonly reason: NodeJS.Signals
  /** Aborts when it is asked again. */
  readonly again: AbortSignal
  /** Listens no longer: a further signal has its usual effect. */
  end(): void
}

/** Resolves when the first of the signals comes. */
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
