import { onTestFinished } from 'vitest'
import {
  defineEvent,
  type EventStore,
  InMemoryCheckpointStore,
  InMemoryEventStore,
  InMemorySubscriptionDeadLetterStore,
  SubscriptionManager,
  type SubscriptionManagerOptions,
} from '../../src/index.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

export class Noted extends defineEvent<{ readonly n: number }>()({ type: 'Noted', aggregateType: 'Note' }) {}

export class Filed extends defineEvent<{ readonly n: number }>()({ type: 'Filed', aggregateType: 'File' }) {}

export const noted = (n: number, aggregateId = `a${n % 10}`) => new Noted({ aggregateId, n })

/** Stores events `from` to `to` (not included), each in an append of its own. */
export async function append(store: EventStore, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n += 1) await appendOne(store, noted(n))
}

/** The same for many, in appends of up to 1,000. */
export async function fill(store: EventStore, from: number, to: number): Promise<void> {
  for (let start = from; start < to; start += 1000) {
    const aggregateId = `many-${(start / 1000) % 10}`
    const events = numbers(start, Math.min(start + 1000, to)).map((n) => noted(n, aggregateId))
    await store.appendEvents({ aggregateId, aggregateType: 'Note', events, expectedVersion: 'any' })
  }
}

export async function appendOne(store: EventStore, event: Noted | Filed): Promise<number> {
  const { aggregateId, aggregateType } = event
  const request = { aggregateId, aggregateType, events: [event], expectedVersion: 'any' as const }
  return (await store.appendEvents(request)).globalPosition
}

export const numbers = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => from + index)

/** A checkpoint of no particular store. */
export const checkpointAt = (position: number) => ({
  position,
  storeId: undefined,
  eventId: undefined,
  fence: undefined,
})

/** Retries as fast as tests want them. */
export const quick = { retryBaseDelayMs: 1, retryJitter: 0, pollIntervalMs: 20 }

/** A store with its other stores, and managers that end with the test. */
export class SubscriptionScene {
  readonly store: InMemoryEventStore
  readonly checkpoints = new InMemoryCheckpointStore()
  readonly deadLetters = new InMemorySubscriptionDeadLetterStore()
  readonly logger = new RecordingLogger()

  constructor(store = new InMemoryEventStore()) {
    this.store = store
  }

  manager(options: Partial<SubscriptionManagerOptions> = {}): SubscriptionManager {
    const { store: eventStore, checkpoints, deadLetters, logger } = this
    const manager = new SubscriptionManager({ eventStore, checkpoints, deadLetters, logger, ...options })
    onTestFinished(async () => void (await manager.stop({ timeoutMs: 1000 })))
    return manager
  }

  messages(level: 'warn' | 'error'): readonly string[] {
    return this.logger.lines.filter((line) => line.level === level).map(({ message }) => message)
  }
}

/** A projection that keeps the numbers it was given. */
export class Seen {
  readonly name: string
  readonly numbers: number[] = []

  constructor(name = 'seen') {
    this.name = name
  }

  handle(event: Noted | Filed): unknown {
    this.numbers.push(event.n)
    return undefined
  }
}
