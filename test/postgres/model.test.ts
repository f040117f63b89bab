import { expect, it } from 'vitest'
import { paced } from '../support/pace.ts'
import { expectLikeMemory, Modeled } from '../support/store-model.ts'
import { openStores } from './postgres-scene.ts'

it.each(['concurrent', 'serialized'] as const)(
  'answers whatever is tried like the stores in memory (order: %s)',
  { timeout: paced(60_000) },
  async (order) => {
    await using stores = openStores({ events: [Modeled], order })
    await expectLikeMemory(stores, 30)
    expect(await stores.events.headPosition()).toBeGreaterThan(0)
  },
)
