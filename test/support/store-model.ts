import fc from 'fast-check'
import { expect } from 'vitest'
import {
  type AppendResult,
  defineEvent,
  type EventStore,
  type ExpectedVersion,
  InMemoryStores,
  type Snapshot,
  type StoredEvent,
  type Stores,
  type StreamName,
} from '../../src/index.ts'

/** Durable stores, with what only they have. */
interface DurableStores extends Stores {
  readonly events: EventStore & {
    import(events: readonly StoredEvent[]): Promise<number>
    export(): AsyncIterable<StoredEvent>
    archive(target: StreamName): Promise<number>
  }
}

/** The event that the stores under test must know. */
export class Modeled extends defineEvent<{ readonly n: number }>()({
  type: 'Modeled',
  aggregateType: 'Model',
}) {}

const key = fc.integer({ min: 0, max: 2 })
const count = fc.integer({ min: 0, max: 3 })
const expected = fc.constantFrom<ExpectedVersion>('any', 'noStream', 'streamExists', 0, 1, 2, 3, 5)
const state = fc.oneof(fc.integer(), fc.string(), fc.constant(null), fc.array(fc.integer(), { maxLength: 3 }))
const small = fc.integer({ min: 0, max: 3 })

const kindOf = <K extends string>(kind: K) => fc.constant(kind)

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: kindOf('append'), key, count, expected, isRepeated: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ kind: kindOf('rollBack'), key, count, expected }) },
  { weight: 1, arbitrary: fc.record({ kind: kindOf('delete'), key }) },
  { weight: 2, arbitrary: fc.record({ kind: kindOf('archive'), key }) },
  { weight: 2, arbitrary: fc.record({ kind: kindOf('import'), key, count, isRepeated: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: kindOf('snapshot'), key, version: small, schemaVersion: small, state }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kindOf('deleteSnapshot'), key }) },
)

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** Tries steps at random on the stores and on those in memory, which must give the same answers. */
export async function expectLikeMemory(stores: DurableStores, numRuns: number): Promise<void> {
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      runs += 1
      const run = new ModelRun(stores, `run ${runs} `)
      for (const one of steps) await run.take(one)
      await run.compareAll()
    }),
    { numRuns },
  )
}

/** One run, on streams of its own. */
class ModelRun {
  readonly #model = new InMemoryStores()
  readonly #stores: DurableStores
  readonly #prefix: string

  constructor(stores: DurableStores, prefix: string) {
    this.#stores = stores
    this.#prefix = prefix
  }

  async take(one: Step): Promise<void> {
    const stream = { aggregateId: `${this.#prefix}${one.key}`, aggregateType: 'Model' }
    await this.#try(one, stream)
    const { aggregateId, aggregateType } = stream
    await this.#expectSame(({ events }) => events.getEvents(aggregateId, { aggregateType }))
    await this.#expectSame(({ snapshots }) => snapshots.load('Model', stream.aggregateId))
  }

  /** All events of this run, archived ones included, in the order of the feed. */
  async compareAll(): Promise<void> {
    const ours = await this.#shapesOf(this.#stores.events.export())
    expect(ours).toEqual(await this.#shapesOf(this.#model.events.readAll()))
  }

  async #try(one: Step, stream: StreamName): Promise<void> {
    switch (one.kind) {
      case 'append':
        return this.#append(stream, one)
      case 'rollBack':
        return this.#rollBack(stream, one)
      case 'delete':
        return this.#expectSame(({ events }) => outcomeOf(events.deleteStream(stream)))
      case 'archive':
        return void (await this.#stores.events.archive(stream))
      case 'import':
        return this.#import(stream, one)
      case 'snapshot':
        return this.#saveSnapshot(stream, one)
      case 'deleteSnapshot':
        return this.#expectSame(({ snapshots }) => snapshots.delete('Model', stream.aggregateId))
    }
  }

  async #append(
    stream: StreamName,
    { count, expected, isRepeated }: Step & { kind: 'append' },
  ): Promise<void> {
    const request = { ...stream, events: modeled(stream, count), expectedVersion: expected }
    for (let time = 0; time < (isRepeated ? 2 : 1); time += 1) {
      await this.#expectSame(({ events }) => outcomeOf(events.appendEvents(request)))
    }
  }

  async #rollBack(stream: StreamName, { count, expected }: Step & { kind: 'rollBack' }): Promise<void> {
    const request = { ...stream, events: modeled(stream, count), expectedVersion: expected }
    await this.#expectSame(async (stores) => {
      let outcome: unknown
      const undone = stores.transaction(async (tx) => {
        outcome = await outcomeOf(tx.events.appendEvents(request))
        await tx.snapshots.save(snapshotOf(stream, { version: 9, schemaVersion: 9, state: 'undone' }))
        throw new Error('undone')
      })
      await expect(undone).rejects.toThrow('undone')
      return outcome
    })
  }

  /** Imports a stream that is not there yet. In memory, it is appended. */
  async #import(stream: StreamName, { count, isRepeated }: Step & { kind: 'import' }): Promise<void> {
    const { aggregateId, aggregateType } = stream
    const { version } = await this.#model.events.getEvents(aggregateId, { aggregateType })
    if (version > 0) return
    const events = modeled(stream, count)
    const head = await this.#stores.events.headPosition()
    const stored = events.map((event, index) => ({
      event: event.withAggregateVersion(index + 1),
      position: head + index + 1,
      storedAt: new Date(),
    }))
    expect(await this.#stores.events.import(stored)).toBe(count)
    if (isRepeated) expect(await this.#stores.events.import(stored)).toBe(0)
    await this.#model.events.appendEvents({ ...stream, events, expectedVersion: 0 })
  }

  #saveSnapshot(stream: StreamName, one: Step & { kind: 'snapshot' }): Promise<void> {
    return this.#expectSame(({ snapshots }) => snapshots.save(snapshotOf(stream, one)))
  }

  async #expectSame(answer: (stores: Stores) => Promise<unknown>): Promise<void> {
    const ours = await answer(this.#stores)
    expect(plain(ours)).toEqual(plain(await answer(this.#model)))
  }

  async #shapesOf(events: AsyncIterable<StoredEvent>): Promise<readonly string[]> {
    const shapes: string[] = []
    for await (const { event } of events) {
      if (!event.aggregateId.startsWith(this.#prefix)) continue
      // A tombstone has an id of its own in each store.
      const id = event.eventType === 'Modeled' ? event.eventId : ''
      shapes.push(`${event.aggregateId} ${event.aggregateVersion} ${event.eventType} ${id}`)
    }
    return shapes
  }
}

const modeled = ({ aggregateId }: StreamName, count: number): readonly Modeled[] =>
  Array.from({ length: count }, (_, n) => new Modeled({ aggregateId, n }))

type SnapshotPart = Pick<Snapshot, 'version' | 'schemaVersion' | 'state'>

const snapshotOf = (stream: StreamName, { version, schemaVersion, state }: SnapshotPart): Snapshot => ({
  ...stream,
  ...{ version, schemaVersion, state },
  takenAt: new Date(1_700_000_000_000 + version),
})

/** The version or the code of the error: positions have other holes in each store. */
const outcomeOf = (call: Promise<AppendResult>): Promise<unknown> =>
  call.then(
    ({ newVersion }) => newVersion,
    (error: unknown) => Reflect.get(Object(error), 'code'),
  )

const plain = (value: unknown): unknown =>
  value === undefined ? undefined : JSON.parse(JSON.stringify(value))
