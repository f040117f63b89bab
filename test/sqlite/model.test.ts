import { expect, it } from 'vitest'
import { paced } from '../support/pace.ts'
import { expectLikeMemory, Modeled } from '../support/store-model.ts'
import { withFile } from './sqlite-scene.ts'

it.each(['node:sqlite', 'better-sqlite3'] as const)(
  'answers whatever is tried like the stores in memory (%s)',
  { timeout: paced(60_000) },
  async (driver) => {
    await using scene = withFile()
    const stores = scene.open({ driver, events: [Modeled], durability: 'normal' })
    await expectLikeMemory(stores, 40)
    expect(await stores.events.headPosition()).toBeGreaterThan(0)
  },
)
