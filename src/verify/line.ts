/** A slow and lossy network. */
export interface LineQuality {
  /** Delay in one direction, in milliseconds. */
  readonly latencyMs: number
  readonly bytesPerSecond: number
  /** Number of chunks that pass before a connection is reset in the middle of one. */
  readonly chunksPerReset: number
}

/** The connections of one process to the broker. */
export interface Line {
  /** Breaks the current connections. New ones work. */
  cut(): void
  /** Acts as a black hole: connections stay open, but nothing passes in either direction. */
  freeze(): void
  /** Lets new connections through. Frozen connections stay frozen. */
  thaw(): void
  /** Makes the network slow; undefined restores it. */
  degrade(quality: LineQuality | undefined): void
  close(): void
}
