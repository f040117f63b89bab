import { expect, it, onTestFinished } from 'vitest'
import { settledUntil, settledWithin, sleep } from '../../src/kit/time.ts'

const pending = new Promise<never>(() => undefined)

it('sleeps until the signal aborts', async () => {
  const stop = new AbortController()

  const slept = sleep(60_000, stop.signal)
  stop.abort()

  expect(await slept).toBe(false)
  expect(await sleep(60_000, stop.signal)).toBe(false)
  expect(await sleep(1, new AbortController().signal)).toBe(true)
})

it('waits for a promise until a timeout', async () => {
  expect(await settledWithin(Promise.resolve(), 60_000)).toBe(true)
  expect(await settledWithin(pending, 1)).toBe(false)
  await expect(settledWithin(Promise.reject(new Error('failed')), 60_000)).rejects.toThrow('failed')
})

it('waits for a promise until the signal aborts', async () => {
  const stop = new AbortController()

  const waiting = settledUntil(pending, stop.signal)
  stop.abort()

  expect(await waiting).toBe(false)
  expect(await settledUntil(Promise.resolve(), stop.signal)).toBe(false)
  expect(await settledUntil(Promise.resolve(), new AbortController().signal)).toBe(true)
  await expect(
    settledUntil(Promise.reject(new Error('failed')), new AbortController().signal),
  ).rejects.toThrow('failed')
})

it('leaves no unhandled rejection of a promise that rejects after the abort, or after the timeout', async () => {
  const unhandled: unknown[] = []
  const onUnhandled = (reason: unknown) => void unhandled.push(reason)
  process.on('unhandledRejection', onUnhandled)
  onTestFinished(() => void process.off('unhandledRejection', onUnhandled))
  const late = [1, 2, 3].map(() => Promise.withResolvers<void>())
  const [early, aborted, timedOut] = late.map(({ promise }) => promise)
  const stop = new AbortController()

  const waiting = settledUntil(aborted ?? pending, stop.signal)
  stop.abort()
  expect(await waiting).toBe(false)
  expect(await settledUntil(early ?? pending, stop.signal)).toBe(false)
  expect(await settledWithin(timedOut ?? pending, 1)).toBe(false)
  for (const { reject } of late) reject(new Error('late'))
  await new Promise((resolve) => setImmediate(resolve))

  expect(unhandled).toEqual([])
})
