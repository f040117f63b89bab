import { type DomainEvent, defineEvent } from '../../index.ts'

interface Numbered {
  readonly n: number
}

/** A Standard Schema without a library: an object with a number `n` and an optional text. */
export const numbered = {
  '~standard': {
    version: 1 as const,
    vendor: 'eventspine',
    validate(value: unknown) {
      const isRight =
        typeof value === 'object' && value !== null && 'n' in value && typeof value.n === 'number'
      // The line above has checked this.
      return isRight
        ? { value: value as Payload }
        : { issues: [{ message: 'must be a number', path: ['n'] }] }
    },
    types: undefined as { readonly input: Payload; readonly output: Payload } | undefined,
  },
}

export interface Payload extends Numbered {
  readonly text?: string
}

/** The event that most tests publish. */
export class Noted extends defineEvent({
  type: 'ConformanceNoted',
  aggregateType: 'Note',
  schema: numbered,
}) {}

/** Another event type of the same aggregates. */
export class Marked extends defineEvent<Numbered>()({ type: 'ConformanceMarked', aggregateType: 'Note' }) {}

/** An event type without a subscription. */
export class Unheard extends defineEvent<Numbered>()({ type: 'ConformanceUnheard', aggregateType: 'Note' }) {}

export const noted = (aggregateId: string, n = 0, eventId?: string) => new Noted({ aggregateId, n, eventId })
export const marked = (aggregateId: string, n = 0) => new Marked({ aggregateId, n })

/** `count` events of one aggregate, numbered from 0. */
export function series(aggregateId: string, count: number): readonly Noted[] {
  return Array.from({ length: count }, (_, n) => noted(aggregateId, n))
}

export const ids = (events: readonly DomainEvent[]): readonly string[] => events.map(({ eventId }) => eventId)
