import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type EventStore, InMemoryEventStore, type StoredEvent } from '../../src/index.ts'
import { Noted, noted } from '../../src/testing/conformance/events.ts'
import { paced } from '../support/pace.ts'
import { openStores } from './postgres-scene.ts'

const key = fc.integer({ min: 0, max: 2 }).map((n) => `k${n}`)

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      key,
      count: fc.integer({ min: 0, max: 3 }),
      expected: fc.constantFrom('any', 'noStream', 'streamExists', 0, 1, 2, 3, 5),
      isRepeated: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('archive' as const), key }) },
)

/** The outcome of a call without the positions, because those of PostgreSQL have other gaps. */
const outcomeOf = (call: Promise<{ newVersion: number }>) =>
  call.then(
    ({ newVersion }) => newVersion,
    (error: unknown) => Object(error).code,
  )

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

async function idsOf(events: AsyncIterable<StoredEvent>): Promise<readonly string[]> {
  const ids: string[] = []
  for await (const { event } of events)
    ids.push(event.eventType === 'ConformanceNoted' ? event.eventId : 'tombstone')
  return ids
}

it('gives the same answers as the in-memory store to random calls', { timeout: paced(120_000) }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      await using stores = openStores({ events: [Noted] })
      const model: EventStore = new InMemoryEventStore()
      for (const one of steps) {
        const stream = { aggregateId: one.key, aggregateType: 'Note' }
        if (one.kind === 'archive') await stores.events.archive(stream)
        else if (one.kind === 'delete') {
          const [got, wanted] = [stores.events, model].map((store) => outcomeOf(store.deleteStream(stream)))
          expect(await got).toBe(await wanted)
        } else {
          const events = Array.from({ length: one.count }, (_, n) => noted(one.key, n))
          const request = { ...stream, events, expectedVersion: one.expected as number | 'any' }
          for (let time = 0; time < (one.isRepeated ? 2 : 1); time += 1) {
            const [got, wanted] = [stores.events, model].map((store) =>
              outcomeOf(store.appendEvents(request)),
            )
            expect(await got).toBe(await wanted)
          }
        }
        const [got, wanted] = await Promise.all(
          [stores.events, model].map((store) => store.getEvents(one.key, { aggregateType: 'Note' })),
        )
        expect(plain(got)).toEqual(plain(wanted))
      }
      expect(await idsOf(stores.events.export())).toEqual(await idsOf(model.readAll()))
    }),
    { numRuns: 25 },
  )
})
