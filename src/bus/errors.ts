import { EventspineError } from '../errors.ts'

/** The bus was shut down before this call. */
export class BusClosedError extends EventspineError {
  readonly code = 'BUS_CLOSED'

  constructor(operation: string) {
    super(`The bus is shut down, so it cannot ${operation}. Make a new bus instead.`)
  }
}

/** What became of one event of a failed publish. */
export interface PublishOutcome {
  readonly eventId: string
  readonly eventType: string
  /**
   * `'stored'`: the broker confirmed it. `'notStored'`: it is certainly not on the broker; publish it again.
   * `'unknown'`: the answer was lost; published again it may be there twice, with the same event id.
   */
  readonly status: 'stored' | 'notStored' | 'unknown'
  readonly error: Error | undefined
}

/** Not every event of a publish was confirmed. `outcomes` says of each event what is known. */
export class PublishError extends EventspineError {
  readonly code = 'PUBLISH_FAILED'
  /** False when nothing of what failed can succeed unless somebody changes something. */
  override readonly retryable: boolean
  readonly #outcomes: readonly PublishOutcome[]
  /** The different errors behind it. */
  readonly errors: readonly Error[]

  constructor(system: string, outcomes: readonly PublishOutcome[]) {
    const count = (status: PublishOutcome['status']) =>
      outcomes.filter((outcome) => outcome.status === status).length
    const errors = [
      ...new Map(outcomes.flatMap(({ error }) => (error ? [[error.message, error]] : []))).values(),
    ]
    super(
      `Of ${outcomes.length} events published to ${system}, ${count('stored')} are stored, ${count('notStored')} are ` +
        `not, and ${count('unknown')} may be: ${errors.map(({ message }) => message).join('; ')}`,
      { cause: errors[0] },
    )
    this.#outcomes = outcomes
    this.errors = errors
    this.retryable = errors.some((error) => !(error instanceof EventspineError) || error.retryable)
  }

  /** One per event of the call, in its order. Not part of what is printed: there may be thousands. */
  get outcomes(): readonly PublishOutcome[] {
    return this.#outcomes
  }
}
