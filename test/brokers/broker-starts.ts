interface BrokerStart {
  readonly broker: string
  readonly startedAt: number
  tookMs: number | undefined
}

const starts: BrokerStart[] = []

/** Notes that a broker is being started. @returns notes that it is up. */
export function noteStart(broker: string): () => void {
  const start: BrokerStart = { broker, startedAt: performance.now(), tookMs: undefined }
  starts.push(start)
  return () => {
    start.tookMs = performance.now() - start.startedAt
  }
}

export function forgetStarts(): void {
  starts.length = 0
}

/** A line for each start since {@link forgetStarts}: how long it took, or how long it has been under way. */
export function startLines(): readonly string[] {
  return starts.map(({ broker, startedAt, tookMs }) => {
    if (tookMs !== undefined) return `${broker} was up ${Math.round(tookMs)} ms after its start`
    return `${broker} is not up ${Math.round(performance.now() - startedAt)} ms after its start`
  })
}
