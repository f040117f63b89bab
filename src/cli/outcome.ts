/** Where a command writes to: data, and messages about it. */
export interface Output {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
}

export interface Outcome {
  /** 0: success, 1: the check found faults, 2: the command could not run. */
  readonly exitCode: 0 | 1 | 2
}
