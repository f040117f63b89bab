import { join } from 'node:path'
import { expect } from 'vitest'
import { SqliteStores } from '../../src/sqlite/index.ts'
import { waitFor } from '../../src/testing/index.ts'
import { itUnless } from '../support/left-out.ts'
import { LossyDisk, obstacleToPowerCuts } from '../support/lossy-disk.ts'
import { paced } from '../support/pace.ts'
import { startWriter } from './writers.ts'

/** The shares of the sectors that were written although nothing had synced them. */
const CUTS = [0, 0.6]

/** The ids of confirmed events, and of those that the file has after a power cut, both in their order. */
interface Survivors {
  readonly confirmed: readonly string[]
  readonly stored: readonly string[]
}

/** Cuts the power while a process writes. @returns the events after each cut. */
async function cutPower(durability: 'full' | 'normal'): Promise<readonly Survivors[]> {
  using disk = await LossyDisk.create()
  const file = join(disk.folder, 'events.db')
  const found: Survivors[] = []
  const confirmed: string[] = []
  for (const written of CUTS) {
    const writer = await startWriter(file, { durability, env: { ...process.env, ...disk.env } })
    await waitFor(() => writer.acknowledged.length >= 30, { timeoutMs: paced(20_000) })
    await writer.kill()
    disk.cut(written)
    confirmed.push(...writer.acknowledged)
    const stored = await idsIn(file)
    found.push({ confirmed: [...confirmed], stored })
    // What the cut has taken is gone for good.
    confirmed.splice(0, confirmed.length, ...stored)
    disk.sync()
  }
  return found
}

/** Fails if the file is damaged, or a stream has a gap or a part of a transaction. */
async function idsIn(file: string): Promise<readonly string[]> {
  await using stores = new SqliteStores({ file, checkIntegrity: true, worker: false })
  const { events } = await stores.events.readPage({ limit: 100_000, maxBytes: 1e9 })
  for (const ofStream of Map.groupBy(events, ({ event }) => event.aggregateId).values()) {
    expect(ofStream.map(({ event }) => event.aggregateVersion)).toEqual(ofStream.map((_, index) => index + 1))
    expect(ofStream.length % 3).toBe(0)
  }
  return events.map(({ event }) => event.eventId)
}

itUnless(
  obstacleToPowerCuts,
  "has every confirmed event after power cuts, with durability 'full'",
  async () => {
    for (const { confirmed, stored } of await cutPower('full')) {
      expect(stored.slice(0, confirmed.length)).toEqual(confirmed)
    }
  },
  paced(60_000),
)

itUnless(
  obstacleToPowerCuts,
  "loses only the last events in power cuts, and no file is damaged, with durability 'normal'",
  async () => {
    const cuts = await cutPower('normal')
    for (const { confirmed, stored } of cuts) {
      expect(confirmed.slice(0, stored.length)).toEqual(stored.slice(0, confirmed.length))
    }
    // Otherwise the disk would lose nothing, and the test above would prove nothing.
    expect(cuts.some(({ confirmed, stored }) => stored.length < confirmed.length)).toBe(true)
  },
  paced(60_000),
)
