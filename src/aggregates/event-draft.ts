import type { DomainEvent, EventClass } from '../events/index.ts'

/** What the aggregate itself knows of each of its events. */
type Stamped = 'aggregateId' | 'aggregateVersion'

/** Keeps index signatures and alternatives, unlike `Omit`. */
type Unstamped<Input> = Input extends unknown
  ? { [Key in keyof Input as Key extends Stamped ? never : Key]: Input[Key] }
  : never

type InputOf<C> = C extends new (input: infer Input) => DomainEvent ? Input : never

/** What an event needs beside what its aggregate knows: its payload, and of the envelope what one wants to set. */
export type DraftInput<C extends EventClass> = Unstamped<InputOf<C>>

/** The input of a draft, as arguments: it may be left out where nothing in it is required. */
export type DraftArguments<C extends EventClass> =
  object extends DraftInput<C> ? readonly [input?: DraftInput<C>] : readonly [input: DraftInput<C>]

/** An event that a decision leads to, before its aggregate gives it an id and a version. */
export interface EventDraft {
  readonly eventClass: EventClass
  readonly input: object
}

/**
 * Drafts an event: what `decide` returns.
 *
 * @example
 * decide: (command, state) => [draft(OrderShipped, { trackingNumber: command.trackingNumber })]
 */
export function draft<C extends EventClass>(eventClass: C, ...[input]: DraftArguments<C>): EventDraft {
  return { eventClass, input: input ?? {} }
}

/** Makes the event of a draft. @throws EventValidationError when its payload is not valid. */
export function stamp(
  { eventClass, input }: EventDraft,
  aggregateId: string,
  aggregateVersion: number,
): DomainEvent {
  // The compiler has compared the input with the class where the draft was made.
  const Class = eventClass as unknown as new (input: object) => DomainEvent
  return new Class({ ...input, aggregateId, aggregateVersion })
}
