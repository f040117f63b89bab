import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect } from 'vitest'
import { z } from 'zod'
import {
  type BrokerEventBus,
  type BrokerOptions,
  type DomainEvent,
  defineEvent,
  type EncodedEvent,
  type HandlerContext,
  JsonCodec,
} from '../../src/index.ts'
import { pythonClasses } from '../codec/python-events.ts'
import { allCapturedMessages } from '../wire/captured.ts'
import { type ForgedHeader, forgedHeaders } from '../wire/forged-headers.ts'
import { paced } from './pace.ts'
import { RecordingLogger } from './recording-logger.ts'
import { waitFor } from './wait-for.ts'

/** `EVENTSPINE_FUZZ` sets the number of messages, `EVENTSPINE_FUZZ_SEED` their seed. `npm run fuzz` sends 100,000. */
const { EVENTSPINE_FUZZ = '20000', EVENTSPINE_FUZZ_SEED = Date.now() % 1_000_000 } = process.env
const COUNT = Number(EVENTSPINE_FUZZ)
const SEED = Number(EVENTSPINE_FUZZ_SEED)
const TIMEOUT_MS = 60_000 + COUNT * 2
const CHUNK = 500
const NEIGHBORS_PER_CHUNK = 24
/** The share of messages that are valid events with headers which only the library writes. */
const FORGED_SHARE = 0.2

/** Part of the name and the options of a test, so that a failure shows how to repeat it. */
export const fuzzRun = { title: `${COUNT} messages of seed ${SEED}`, timeoutMs: paced(2 * TIMEOUT_MS) }

/** A valid event among the malformed messages. */
class Neighbor extends defineEvent({
  type: 'Neighbor',
  aggregateType: 'Order',
  schema: z.strictObject({ n: z.number().int(), text: z.string() }),
}) {}

/** A valid event under forged headers. */
class Forged extends defineEvent({ type: 'Forged', aggregateType: 'Order', schema: z.strictObject({}) }) {}

const codec = new JsonCodec()

/** The valid events belong to the aggregates that the malformed messages name. */
const aggregateIds = [
  'Order-1',
  ...new Set(allCapturedMessages.flatMap(({ event }) => event?.['aggregate_id'] ?? []).map(String)),
]

function neighborsFrom(first: number): readonly Neighbor[] {
  return Array.from({ length: NEIGHBORS_PER_CHUNK }, (_, index) => {
    const n = first + index
    const aggregateId = aggregateIds[n % aggregateIds.length] ?? 'Order-1'
    return new Neighbor({ aggregateId, n, text: `«${n}» é 🎈` })
  })
}

/** A digest of all parts of a message, for comparison. */
export function digestOf(...parts: readonly (string | Uint8Array | null | undefined)[]): string {
  const hash = createHash('sha1')
  for (const part of parts) {
    hash.update(part === null || part === undefined ? '-' : `${part.length}:`)
    if (typeof part === 'string' || part instanceof Uint8Array) hash.update(part)
  }
  return hash.digest('base64')
}

/** A dead letter as a plain client reads it. */
export interface FoundLetter {
  /** Digest of the parts of the message that a dead letter must keep. */
  readonly digest: string
  readonly reason: string | undefined
  readonly errorMessage: string | undefined
}

export interface FuzzedBroker<M> {
  readonly messages: fc.Arbitrary<M>
  createBus(options: BrokerOptions): BrokerEventBus
  /** Stores messages with the plain client. */
  send(messages: readonly M[]): Promise<void>
  /** The message of an event with further headers, as a producer without this library can write it. */
  forge(event: EncodedEvent, headers: readonly ForgedHeader[]): M
  /** The body that a consumer must receive. */
  bodyOf(message: M): Uint8Array
  /** For each sent message, the digest of the parts that a dead letter must keep. */
  digests(): Promise<readonly string[]>
  deadLetters(group: string, count: number): Promise<readonly FoundLetter[]>
}

/** Counts the occurrences of each text. */
class Tally {
  readonly #counts = new Map<string, number>()

  constructor(texts: Iterable<string> = []) {
    for (const text of texts) this.add(text)
  }

  add(text: string): void {
    this.#counts.set(text, (this.#counts.get(text) ?? 0) + 1)
  }

  /** The number of occurrences in `other` that are missing here. */
  lacks(other: Tally): number {
    let count = 0
    for (const [text, wanted] of other.#counts) count += Math.max(0, wanted - (this.#counts.get(text) ?? 0))
    return count
  }
}

/** The handlers of forged events, which the forged headers name. */
const HANDLERS = ['first', 'second'] as const

/** A run of a handler as a text. Every run of a forged event is the first one. */
function runOf(
  { eventId }: Forged,
  handler: string,
  { attempt, deliveryCount }: Pick<HandlerContext, 'attempt' | 'deliveryCount'>,
): string {
  return `${eventId} ${handler} ${attempt} ${deliveryCount}`
}

/** A consumer group: its bus, and the events that its handlers received. */
class Group {
  readonly name: string
  readonly bus: BrokerEventBus
  readonly bodies: string[] = []
  readonly neighbors: Neighbor[] = []
  /** The runs of both handlers of forged messages. */
  readonly forged: string[] = []
  readonly logger = new RecordingLogger()
  constructor(name: string, createBus: (options: BrokerOptions) => BrokerEventBus) {
    this.name = name
    this.bus = createBus({ consumerGroup: name, logger: this.logger, maxRetries: 0 })
    for (const handler of HANDLERS) {
      const handle = (event: Forged, context: HandlerContext) => {
        this.forged.push(runOf(event, handler, context))
      }
      this.bus.subscribe(Forged, handle, { name: handler })
    }
  }

  readonly saw = (event: DomainEvent): void => {
    if (event instanceof Neighbor) this.neighbors.push(event)
    else if (!(event instanceof Forged)) this.bodies.push(digestOf(Buffer.from(codec.encode(event).body)))
  }

  get settled(): number {
    const { eventsProcessedSuccess, eventsProcessedFailed, eventsSkipped } = this.bus.getStats()
    return eventsProcessedSuccess + eventsProcessedFailed + eventsSkipped
  }

  describe(): string {
    const sentences = Map.groupBy(this.logger.lines, ({ message }) => message)
    const others = [...sentences].filter(([message]) => message !== 'event dead-lettered')
    const samples = others.map(([message, lines]) => [
      message,
      lines.length,
      String(lines[0]?.fields['error']),
    ])
    return `${this.name}: ${JSON.stringify([this.bus.getStats(), samples])}`
  }
}

/**
 * Sends random and mutated messages to a broker, among valid events of the same aggregates. One group has a handler for all
 * types, so that each message is handled or dead-lettered. The other group has handlers for some types, so that it also skips.
 * Valid events with forged headers of the library's own must reach each handler once, as if they had none.
 */
export async function fuzzBus<M>(broker: FuzzedBroker<M>): Promise<void> {
  const all = new Group('all', broker.createBus)
  all.bus.subscribeToAllEvents(all.saw)
  all.bus.subscribe(Neighbor, () => undefined)
  const some = new Group('some', broker.createBus)
  some.bus.subscribe([...pythonClasses, Neighbor], some.saw)
  const groups = [all, some]
  for (const { bus } of groups) {
    bus.startConsumingInBackground()
    await bus.whenConsuming()
  }
  const { neighbors, bodies, forged } = await send(broker)
  const total = COUNT + neighbors.length
  for (const group of groups) {
    await waitFor(() => group.settled >= total && group.bus.getStats().inFlight === 0, {
      timeoutMs: TIMEOUT_MS,
      describe: () => `${total} messages to be settled; ${group.describe()}`,
    })
  }

  const digests = new Tally(await broker.digests())
  const handled = new Tally(all.bodies)
  const firstRuns = forged.flatMap((event) =>
    HANDLERS.map((handler) => runOf(event, handler, { attempt: 1, deliveryCount: 1 })),
  )
  for (const group of groups) {
    const { name, bus, settled, neighbors: seen } = group
    const { messagesSentToDlq, eventsProcessedFailed, reconnections } = bus.getStats()
    expect({ name, settled, reconnections }, group.describe()).toEqual({
      name,
      settled: total,
      reconnections: 0,
    })
    expect(byAggregate(seen), name).toEqual(byAggregate(neighbors))
    expect(group.forged.toSorted(), `runs under forged headers of ${name}`).toEqual(firstRuns.toSorted())

    const letters = await broker.deadLetters(name, messagesSentToDlq)
    expect([letters.length, eventsProcessedFailed], name).toEqual([messagesSentToDlq, messagesSentToDlq])
    expect(letters.filter(({ reason, errorMessage }) => !(reason && errorMessage))).toEqual([])
    expect(digests.lacks(new Tally(letters.map(({ digest }) => digest))), `changed letters of ${name}`).toBe(
      0,
    )
  }
  // The group that skips nothing has handled each message bit for bit, or has a dead letter.
  expect(new Tally(bodies).lacks(handled), 'bodies that nobody sent').toBe(0)
  expect(all.bus.getStats().eventsSkipped).toBe(0)
  expect(some.bus.getStats().eventsSkipped).toBeGreaterThan(0)
}

/** Publishes malformed messages and valid events concurrently. */
async function send<M>(broker: FuzzedBroker<M>) {
  const publisher = broker.createBus({})
  const neighbors: Neighbor[] = []
  const bodies: string[] = []
  const forged: Forged[] = []
  for (let start = 0; start < COUNT; start += CHUNK) {
    const count = Math.min(CHUNK, COUNT - start)
    const forgedCount = Math.floor(count * FORGED_SHARE)
    const seed = SEED + start
    const messages = [...fc.sample(broker.messages, { numRuns: count - forgedCount, seed })]
    for (const message of messages) bodies.push(digestOf(broker.bodyOf(message)))
    for (const headers of fc.sample(forgedHeaders, { numRuns: forgedCount, seed })) {
      const event = new Forged({ aggregateId: `Forged-${forged.length % 50}` })
      forged.push(event)
      messages.push(broker.forge(codec.encode(event), headers))
    }
    const good = neighborsFrom(neighbors.length)
    neighbors.push(...good)
    await Promise.all([broker.send(messages), publisher.publish(good)])
  }
  return { neighbors, bodies, forged }
}

/** The received events, in order. */
function byAggregate(neighbors: readonly Neighbor[]): Record<string, unknown> {
  const groups = Map.groupBy(neighbors, ({ aggregateId }) => aggregateId)
  return Object.fromEntries(
    [...groups].map(([id, events]) => [id, events.map(({ eventId, n, text }) => ({ eventId, n, text }))]),
  )
}
