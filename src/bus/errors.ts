import { EventspineError, sentence } from '../errors.ts'

/** The bus was shut down before this call. */
export class BusClosedError extends EventspineError {
  static override readonly name = 'BusClosedError'
  readonly code = 'BUS_CLOSED'

  constructor(operation: string) {
    super(`The bus is shut down, so it cannot ${operation}. Create a new bus instead.`)
  }
}

/** Dead letters were not replayed, because none of their handlers is subscribed to this bus. */
export class HandlerNotFoundError extends EventspineError {
  static override readonly name = 'HandlerNotFoundError'
  readonly code = 'HANDLER_NOT_FOUND'
  /** The dead letters that were not replayed. */
  readonly deadLetterIds: readonly string[]
  /** Number of dead letters that the call has replayed. */
  readonly replayed: number

  constructor(problem: string, { ids, replayed }: { ids: readonly string[]; replayed: number }) {
    super(
      `${problem} Subscribe the handler, give the one that replaces it an alias, or replay with { handlers } or ` +
        '{ group }. The dead letter is kept.',
    )
    this.deadLetterIds = ids
    this.replayed = replayed
  }
}

/** No consumer group of this name has consumed from the stream, exchange or topic. */
export class GroupNotFoundError extends EventspineError {
  static override readonly name = 'GroupNotFoundError'
  readonly code = 'GROUP_NOT_FOUND'

  /** @param suggestion - the nearest group, or the known ones. */
  constructor(group: string, suggestion: string) {
    super(`There is no consumer group ${group} here${suggestion}`)
  }
}

/** A consumer group was not deleted or moved, because a consumer of it lives, or may live because the group is paused. */
export class GroupInUseError extends EventspineError {
  static override readonly name = 'GroupInUseError'
  readonly code = 'GROUP_IN_USE'

  /** @param members - `'paused'` if the group is paused, so that its consumers do not count as members. */
  constructor(group: string, members: number | 'paused', change: 'deleted' | 'moved' = 'deleted') {
    const count =
      members === 1 ? 'a living member' : members === 0 ? 'living members' : `${members} living members`
    super(
      members === 'paused'
        ? `The consumer group ${group} is paused and may have living consumers, so it was not deleted. Resume it first.`
        : `The consumer group ${group} has ${count}, so it was not ${change}. Stop its consumers first.`,
    )
  }
}

/** A consumer group is paused, but handlers of it still run, or may run, after the time that the caller waits. */
export class GroupStillRunningError extends EventspineError {
  static override readonly name = 'GroupStillRunningError'
  readonly code = 'GROUP_STILL_RUNNING'
  override readonly retryable = true

  constructor(group: string, waitedMs: number, consumers: readonly string[]) {
    super(
      `The consumer group ${group} is paused, but handlers still run, or may run, after ${waitedMs} ms: ` +
        `${consumers.join('; ')}. The pause stays. Wait longer, or stop these processes.`,
    )
  }
}

/** The outcome of one event of a failed publish. */
export interface PublishOutcome {
  readonly eventId: string
  readonly eventType: string
  /**
   * `'stored'`: the broker confirmed the event. `'notStored'`: the event is certainly not on the broker; publish it again.
   * `'unknown'`: the broker's answer was lost; if you publish the event again, the broker may have it twice, with the same
   * event id.
   */
  readonly status: 'stored' | 'notStored' | 'unknown'
  readonly error: Error | undefined
}

/** The broker did not confirm every event of a publish. `outcomes` has the outcome of each event. */
export class PublishError extends EventspineError {
  static override readonly name = 'PublishError'
  readonly code = 'PUBLISH_FAILED'
  /** False if no failed event can succeed without a change. */
  override readonly retryable: boolean
  readonly #outcomes: readonly PublishOutcome[]
  readonly #errors: readonly Error[]

  constructor(system: string, outcomes: readonly PublishOutcome[]) {
    const count = (status: PublishOutcome['status']) =>
      outcomes.filter((outcome) => outcome.status === status).length
    const errors = [
      ...new Map(outcomes.flatMap(({ error }) => (error ? [[error.message, error]] : []))).values(),
    ]
    super(
      `Of ${outcomes.length} events published to ${system}, ${count('stored')} are stored, ${count('notStored')} are ` +
        `not, and ${count('unknown')} may be: ${listed(errors)}`,
      { cause: errors[0] },
    )
    this.#outcomes = outcomes
    this.#errors = errors
    this.retryable = errors.some((error) => !(error instanceof EventspineError) || error.retryable)
  }

  /** The distinct errors of the failed events; a getter as {@link outcomes} is. */
  get errors(): readonly Error[] {
    return this.#errors
  }

  /** One outcome per event, in the order of the call. A getter, so that `util.inspect` does not print thousands of them. */
  get outcomes(): readonly PublishOutcome[] {
    return this.#outcomes
  }
}

/** Errors whose text is part of the message. */
const LISTED = 3

function listed(errors: readonly Error[]): string {
  const texts = errors.slice(0, LISTED).map(({ message }) => sentence(message))
  if (errors.length > LISTED) texts.push(`And ${errors.length - LISTED} other errors.`)
  return texts.join(' ')
}
