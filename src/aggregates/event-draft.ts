import type { DomainEvent, EventClass } from '../events/index.ts'

/** The fields that the aggregate sets for each of its events. */
type Stamped = 'aggregateId' | 'aggregateVersion'

/** Removes these fields. Unlike `Omit`, it keeps index signatures and unions. */
type Unstamped<Input> = Input extends unknown
  ? { [Key in keyof Input as Key extends Stamped ? never : Key]: Input[Key] }
  : never

type InputOf<C> = C extends new (input: infer Input) => DomainEvent ? Input : never

/** The input of an event without the fields that its aggregate sets: the payload, and optional envelope fields. */
export type DraftInput<C extends EventClass> = Unstamped<InputOf<C>>

/** The input of a draft as arguments. It is optional if none of its fields is required. */
export type DraftArguments<C extends EventClass> =
  object extends DraftInput<C> ? readonly [input?: DraftInput<C>] : readonly [input: DraftInput<C>]

/** An event before its aggregate has set the aggregate id and version. */
export interface EventDraft {
  readonly eventClass: EventClass
  readonly input: object
}

/**
 * Drafts an event; `decide` returns drafts.
 *
 * @example
 * const ship = (command: OrderCommand) => [draft(OrderShipped, { trackingNumber: command.trackingNumber })]
 */
export function draft<C extends EventClass>(eventClass: C, ...[input]: DraftArguments<C>): EventDraft {
  return { eventClass, input: input ?? {} }
}

/** Creates the event of a draft. @throws EventValidationError if its payload is not valid. */
export function stamp(
  { eventClass, input }: EventDraft,
  aggregateId: string,
  aggregateVersion: number,
): DomainEvent {
  // The compiler has checked the input against the class where the draft was created.
  const Class = eventClass as unknown as new (input: object) => DomainEvent
  return new Class({ ...input, aggregateId, aggregateVersion })
}
