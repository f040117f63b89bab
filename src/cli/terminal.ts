/** Where a command writes to and asks. Tests and programs can pass their own. */
export interface Terminal {
  /** Writes data, one or more whole lines. Resolves when more may be written. */
  readonly out: (text: string) => Promise<void>
  /** Writes a message, a warning or progress. */
  readonly err: (text: string) => void
  /** Width of the terminal in columns; undefined if the data goes to a file or a pipe. */
  readonly columns: number | undefined
  readonly hasColor: boolean
  /** Asks a person; undefined if nobody can answer. */
  readonly ask: ((question: string) => Promise<string>) | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly workingDirectory: string
  /**
   * Aborts when the user presses Ctrl-C. From the first reading on, Ctrl-C no longer ends the process at once, so read it
   * only in commands that stop by it.
   */
  readonly interrupted: AbortSignal
}
