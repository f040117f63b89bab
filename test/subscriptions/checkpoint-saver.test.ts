import { expect, it } from 'vitest'
import type { Checkpoint } from '../../src/index.ts'
import { CheckpointSaver } from '../../src/subscriptions/checkpoint-saver.ts'
import { SubscriptionMonitor } from '../../src/subscriptions/subscription-monitor.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const at = (position: number) => ({ position, eventId: undefined })

/** A saver whose saves the test ends. */
function setUp() {
  const saves: { readonly position: number; readonly previous: number | undefined; end: () => void }[] = []
  const save = (_name: string, { position }: Checkpoint, previous: number | undefined) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    saves.push({ position, previous, end: resolve })
    return promise
  }
  const saver = new CheckpointSaver({
    name: 'a',
    store: { load: async () => undefined, save },
    saved: undefined,
    storeId: 'the store',
    fence: undefined,
    everyEvents: 3,
    everyMs: Number.POSITIVE_INFINITY,
    monitor: new SubscriptionMonitor('a', new RecordingLogger()),
    onConflict: () => undefined,
  })
  return { saver, saves }
}

it('saves events that finish during a save before a flush that was requested meanwhile resolves', async () => {
  const { saver, saves } = setUp()
  saver.advance(at(3), 3)
  saver.advance(at(4), 1)
  let isFlushed = false
  const flushing = saver.flush().then(() => {
    isFlushed = true
  })
  saves[0]?.end()
  await new Promise(setImmediate)

  expect(isFlushed).toBe(false)
  expect(saves).toMatchObject([
    { position: 3, previous: undefined },
    { position: 4, previous: 3 },
  ])
  saves[1]?.end()
  await flushing
  expect(saver.saved?.position).toBe(4)
  expect(saver.busy).toBeUndefined()
})

it('starts a save that is due at the moment when another save ends', async () => {
  const { saver, saves } = setUp()
  saver.advance(at(3), 3)
  const first = saver.busy
  saves[0]?.end()
  await first
  saver.advance(at(6), 3)

  expect(saves.map(({ position }) => position)).toEqual([3, 6])
  expect(saver.busy).toBeDefined()
  saves[1]?.end()
  await saver.busy
  expect(saver.saved?.position).toBe(6)
})

it('is not busy when there is nothing to save', async () => {
  const { saver, saves } = setUp()
  await saver.flush()

  expect(saver.busy).toBeUndefined()
  expect(saves).toEqual([])
})
