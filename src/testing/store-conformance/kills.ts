import assert from 'node:assert/strict'
import { waitFor } from '../wait-for.ts'
import { assertSawAll, follow } from './following.ts'
import { storeTest } from './store-under-test.ts'
import { append, noted } from './stored-events.ts'
import { KILLED_BATCH } from './write-forever.ts'

/** Writers that are killed. */
export const killTests = [
  storeTest(
    'keeps every confirmed append of killed writers, stores no partial transaction, and accepts further appends',
    async (scene) => {
      const { store } = scene
      let isOver = false
      const following = follow(await scene.another(), () => isOver)
      following.catch(() => undefined) // awaited below, unless the test fails before
      const acknowledged: string[] = []
      for (let round = 0; round < 3; round += 1) {
        const writer = await scene.startWriter()
        await waitFor(() => writer.acknowledged.length >= 5 * KILLED_BATCH, {
          timeoutMs: 20_000,
          describe: () => `5 appends of a writer process, saw ${writer.acknowledged.length}`,
        })
        await writer.kill()
        acknowledged.push(...writer.acknowledged)
        await append(store, [noted('survivor')])
      }
      isOver = true

      const seen = await following
      await assertSawAll(seen, store)
      const ids = new Set(seen.map(({ event }) => event.eventId))
      const missing = acknowledged.filter((eventId) => !ids.has(eventId))
      assert.deepEqual(missing, [], 'confirmed and missing')
      for (const [stream, ofStream] of Map.groupBy(seen, ({ event }) => event.aggregateId)) {
        if (stream !== 'survivor') assert.equal(ofStream.length % KILLED_BATCH, 0, `${stream} is in pieces`)
      }
    },
    ['writerProcesses'],
  ),
]
