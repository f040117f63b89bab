import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'vitest'
import type { PostgresStores } from '../../src/postgres/index.ts'
import { type Noted, noted } from '../../src/testing/conformance/events.ts'
import { waitFor } from '../../src/testing/index.ts'
import { itUnless } from '../support/left-out.ts'
import { obstacleToPowerCuts } from '../support/lossy-disk.ts'
import { paced } from '../support/pace.ts'
import { LossyServer } from './lossy-server.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

/** Number of events that are confirmed and read before a power cut. */
const ENOUGH = 100

/** An event in the feed. */
interface Place {
  readonly position: number
  readonly eventId: string
}

/** What was known before a power cut, and what is stored after it. */
interface Aftermath {
  readonly confirmed: readonly string[]
  readonly seen: readonly Place[]
  readonly stored: readonly Place[]
  /** Position of the first append after it. */
  readonly next: number
}

const streamOf = (events: readonly Noted[]) => ({
  ...{ aggregateId: events[0]?.aggregateId ?? '', aggregateType: 'Note' },
  ...{ events, expectedVersion: 'any' as const },
})

/** The appends of one writer: of single events, of batches, and of several streams in one transaction. */
const WRITERS: readonly ((stores: PostgresStores, round: number) => Promise<readonly Noted[]>)[] = [
  async (stores) => appended(stores, [noted('single')]),
  async (stores, round) => appended(stores, [noted(`alone-${round}`)]),
  async (stores) => appended(stores, [noted('batch'), noted('batch'), noted('batch')]),
  async (stores, round) => {
    const events = [noted('first'), noted(`second-${round}`)]
    await stores.transaction(async (tx) => {
      for (const event of events) await tx.events.appendEvents(streamOf([event]))
    })
    return events
  },
]

async function appended(stores: PostgresStores, events: readonly Noted[]): Promise<readonly Noted[]> {
  await stores.events.appendEvents(streamOf(events))
  return events
}

/** Repeats work until it fails, as it does once the server has no power. */
async function untilFailure(work: (round: number) => Promise<unknown>): Promise<void> {
  try {
    for (let round = 0; ; round += 1) await work(round)
  } catch {
    // The power is cut. What matters is what the server has after that.
  }
}

/** Cuts the power while several callers append and one reads. */
async function cutDuringAppends(server: LossyServer, schema: string, written: number): Promise<Aftermath> {
  await using before = openStores({ postgresUrl: server.url, schema, poolSize: 8 })
  await before.ready()
  const confirmed: string[] = []
  const seen: Place[] = await feedOf(before, 0)
  const enough = seen.length + ENOUGH
  const writing = WRITERS.map((write) =>
    untilFailure(async (round) => confirmed.push(...(await write(before, round)).map(idOf))),
  )
  const reading = untilFailure(async () => {
    seen.push(...(await feedOf(before, seen.at(-1)?.position ?? 0)))
    await nextTurn()
  })
  await waitFor(() => confirmed.length >= ENOUGH && seen.length >= enough, { timeoutMs: paced(20_000) })
  await server.cutPower(written, () => Promise.all([...writing, reading]))
  await using after = openStores({ postgresUrl: server.url, schema })
  const stored = await feedOf(after, 0)
  const { globalPosition } = await after.events.appendEvents(streamOf([noted('last')]))
  return { confirmed, seen, stored, next: globalPosition }
}

const idOf = ({ eventId }: Noted): string => eventId

/** Fails if a stream has a gap. */
async function feedOf({ events: store }: PostgresStores, fromPosition: number): Promise<Place[]> {
  const { events } = await store.readPage({ fromPosition, limit: 100_000, maxBytes: 1e9 })
  if (fromPosition === 0) {
    for (const ofStream of Map.groupBy(events, ({ event }) => event.aggregateId).values()) {
      const versions = ofStream.map(({ event }) => event.aggregateVersion)
      expect(versions).toEqual(ofStream.map((_, index) => index + 1))
    }
  }
  return events.map(({ position, event }) => ({ position, eventId: event.eventId }))
}

const missing = ({ confirmed, stored }: Aftermath): readonly string[] => {
  const ids = new Set(stored.map(({ eventId }) => eventId))
  return confirmed.filter((eventId) => !ids.has(eventId))
}

/** Makes the server confirm commits before it has synced them. */
async function confirmEarly(url: string): Promise<void> {
  await using client = await connected(url)
  await client.query('alter role postgres set synchronous_commit = off')
}

itUnless(
  obstacleToPowerCuts,
  'has every confirmed event after power cuts, and a reader goes on from what it has seen',
  async () => {
    await using server = await LossyServer.launch()
    const schema = freshSchema()
    for (const written of [0, 0.6]) {
      const aftermath = await cutDuringAppends(server, schema, written)
      const { seen, stored, next } = aftermath

      expect(missing(aftermath)).toEqual([])
      expect(stored.slice(0, seen.length)).toEqual(seen)
      expect(next).toBeGreaterThan(stored.at(-1)?.position ?? Number.POSITIVE_INFINITY)
    }
    await confirmEarly(server.url)
    // Otherwise the disk would lose nothing, and the cuts above would prove nothing.
    expect(missing(await cutDuringAppends(server, schema, 0))).not.toEqual([])
  },
  paced(60_000),
)
