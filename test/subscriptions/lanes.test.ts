import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { waitFor } from '../support/wait-for.ts'
import { appendOne, type Noted, noted, numbers, quick, SubscriptionScene } from './subscription-scene.ts'

const plan = fc.array(
  fc.record({
    key: fc.integer({ min: 0, max: 4 }),
    turns: fc.integer({ min: 0, max: 3 }),
    failures: fc.constantFrom(0, 0, 0, 1, 2),
  }),
  { minLength: 1, maxLength: 50 },
)

const settings = fc.record({
  concurrency: fc.integer({ min: 1, max: 4 }),
  maxInFlight: fc.integer({ min: 1, max: 20 }),
  batchSize: fc.integer({ min: 1, max: 20 }),
  checkpointEveryEvents: fc.constantFrom(1, 3, Number.POSITIVE_INFINITY),
})

it('keeps the order per aggregate, and saves only the position before the first unfinished event, with random delays and failures', async () => {
  await fc.assert(
    fc.asyncProperty(plan, settings, async (steps, options) => {
      const scene = new SubscriptionScene()
      for (const [n, { key }] of steps.entries()) await appendOne(scene.store, noted(n, `k${key}`))
      const done: Noted[] = []
      const attempts = new Map<number, number>()
      let running = 0
      let mostRunning = 0
      const save = scene.checkpoints.save.bind(scene.checkpoints)
      scene.checkpoints.save = (name, checkpoint, previous) => {
        const finished = new Set(done.map(({ n }) => n))
        expect(numbers(0, checkpoint.position).every((n) => finished.has(n))).toBe(true)
        return save(name, checkpoint, previous)
      }
      const handle = async (event: Noted) => {
        const { turns = 0, failures = 0 } = steps[event.n] ?? {}
        running += 1
        mostRunning = Math.max(mostRunning, running)
        for (let turn = 0; turn < turns; turn += 1) await nextTurn()
        running -= 1
        const attempt = (attempts.get(event.n) ?? 0) + 1
        attempts.set(event.n, attempt)
        if (attempt <= failures) throw new Error('as planned')
        done.push(event)
      }
      const manager = scene.manager()
      manager.subscribe({ name: 'lanes', handle }, { ...quick, retryBaseDelayMs: 0, ...options })
      manager.start()
      await manager.whenCaughtUp('lanes')
      await manager.stop()

      for (const ofKey of Map.groupBy(done, ({ aggregateId }) => aggregateId).values()) {
        const order = ofKey.map(({ n }) => n)
        expect(order).toEqual(order.toSorted((a, b) => a - b))
      }
      expect(done.map(({ n }) => n).toSorted((a, b) => a - b)).toEqual(numbers(0, steps.length))
      expect(mostRunning).toBeLessThanOrEqual(options.concurrency)
      if (options.concurrency === 1) expect(done.map(({ n }) => n)).toEqual(numbers(0, steps.length))
      expect((await scene.checkpoints.load('lanes'))?.position).toBe(steps.length)
    }),
    { numRuns: 60 },
  )
})

it('lets a stuck event hold back only its own aggregate and the checkpoint', async () => {
  const scene = new SubscriptionScene()
  for (let n = 0; n < 40; n += 1) await appendOne(scene.store, noted(n, `a${n % 4}`))
  const gate = Promise.withResolvers<void>()
  const done: number[] = []
  const handle = async ({ n }: Noted) => {
    if (n === 5) await gate.promise
    done.push(n)
  }
  const manager = scene.manager()
  manager.subscribe({ name: 'lanes', handle }, { concurrency: 4, checkpointEveryEvents: 1 })
  manager.start()

  await waitFor(() => done.length === 31)
  expect(done.every((n) => n % 4 !== 1 || n < 5)).toBe(true)
  expect((await manager.status())['lanes']).toMatchObject({ position: 5, lagPositions: 35 })
  await waitFor(async () => (await scene.checkpoints.load('lanes'))?.position === 5)
  gate.resolve()
  await manager.whenCaughtUp('lanes')
  expect(done).toHaveLength(40)
})

it('repeats after a crash only events after the first unfinished one', async () => {
  const scene = new SubscriptionScene()
  for (let n = 0; n < 8; n += 1) await appendOne(scene.store, noted(n, `a${n % 4}`))
  const first: number[] = []
  const stuck = async ({ n }: Noted) => {
    if (n === 1) await new Promise(() => undefined)
    first.push(n)
  }
  const crashed = scene.manager()
  crashed.subscribe({ name: 'lanes', handle: stuck }, { concurrency: 4 })
  crashed.start()
  await waitFor(() => first.length === 6)
  await crashed.stop({ timeoutMs: 5 })

  const second: number[] = []
  const heir = scene.manager()
  heir.subscribe({ name: 'lanes', handle: ({ n }: Noted) => second.push(n) }, { concurrency: 4 })
  heir.start()
  await heir.whenCaughtUp('lanes')
  expect(first.toSorted()).toEqual([0, 2, 3, 4, 6, 7])
  expect(second.toSorted()).toEqual([1, 2, 3, 4, 5, 6, 7])
})

it('saves at a stop the events that running handlers have finished', async () => {
  const scene = new SubscriptionScene()
  for (let n = 0; n < 8; n += 1) await appendOne(scene.store, noted(n, `a${n % 4}`))
  const gate = Promise.withResolvers<void>()
  const begun: number[] = []
  const handle = async ({ n }: Noted) => {
    begun.push(n)
    await gate.promise
    for (let turn = 0; turn < 5; turn += 1) await nextTurn()
  }
  const manager = scene.manager()
  manager.subscribe({ name: 'lanes', handle }, { concurrency: 4 })
  manager.start()
  await waitFor(() => begun.length === 4)
  const stopping = manager.stop()
  gate.resolve()

  expect(await stopping).toMatchObject({ phase: 'completed', drained: 4 })
  expect(begun).toEqual([0, 1, 2, 3])
  expect((await scene.checkpoints.load('lanes'))?.position).toBe(4)
})

it('pauses with events in its lanes, and starts none of them before it is resumed', async () => {
  const scene = new SubscriptionScene()
  for (let n = 0; n < 40; n += 1) await appendOne(scene.store, noted(n, `a${n % 8}`))
  const done: number[] = []
  const manager = scene.manager()
  const reached = Promise.withResolvers<void>()
  const handle = async ({ n }: Noted) => {
    await nextTurn()
    done.push(n)
    if (done.length === 5) reached.resolve()
  }
  manager.subscribe({ name: 'lanes', handle }, { concurrency: 3 })
  manager.start()
  await reached.promise
  // Outside of the handlers: inside, a pause does not wait for them.
  await manager.pause('lanes')
  const paused = [...done]
  for (let turn = 0; turn < 20; turn += 1) await nextTurn()
  expect(done).toEqual(paused)
  expect(done.length).toBeLessThan(40)

  manager.resume('lanes')
  await manager.whenCaughtUp('lanes')
  expect(done.toSorted((a, b) => a - b)).toEqual(numbers(0, 40))
})

it('holds at most maxInFlight events', async () => {
  const scene = new SubscriptionScene()
  for (let n = 0; n < 50; n += 1) await appendOne(scene.store, noted(n, `a${n}`))
  const gate = Promise.withResolvers<void>()
  const readAll = scene.store.readAll.bind(scene.store)
  let read = 0
  scene.store.readAll = async function* (options) {
    for await (const stored of readAll(options)) {
      read += 1
      yield stored
    }
  }
  const manager = scene.manager()
  manager.subscribe({ name: 'lanes', handle: () => gate.promise }, { concurrency: 3, maxInFlight: 7 })
  manager.start()
  await waitFor(() => read === 7)
  for (let turn = 0; turn < 20; turn += 1) await nextTurn()
  expect(read).toBe(7)

  gate.resolve()
  await manager.whenCaughtUp('lanes')
})
