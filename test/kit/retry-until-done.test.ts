import { expect, it } from 'vitest'
import { retryUntilDone } from '../../src/kit/retry-until-done.ts'

const backoff = { backoff: (failure: number) => failure * 10 }
const never = new AbortController().signal

it('repeats the action until it succeeds, and reports each failure with its number', async () => {
  const failures: string[] = []
  const waits: number[] = []

  const done = await retryUntilDone(
    (attempt) => {
      if (attempt < 3) throw new Error(`attempt ${attempt}`)
      return attempt
    },
    {
      backoff,
      signal: never,
      onFailure: (error, failure) => failures.push(`${failure}: ${error.message}`),
      sleep: async (ms) => {
        waits.push(ms)
        return true
      },
    },
  )

  expect(done).toEqual({ value: 3 })
  expect(failures).toEqual(['1: attempt 1', '2: attempt 2'])
  expect(waits).toEqual([10, 20])
})

it('stops when the signal aborts during a wait', async () => {
  const stopping = new AbortController()

  const done = await retryUntilDone(() => Promise.reject(new Error('never')), {
    backoff: { backoff: () => 60_000 },
    signal: stopping.signal,
    onFailure: () => stopping.abort(),
  })

  expect(done).toBeUndefined()
})

it('does not call the action once the signal has aborted', async () => {
  let calls = 0

  const done = await retryUntilDone(
    () => {
      calls += 1
    },
    { backoff, signal: AbortSignal.abort(), onFailure: () => undefined },
  )

  expect(done).toBeUndefined()
  expect(calls).toBe(0)
})

it('rejects with the error that onFailure throws', async () => {
  const ends = retryUntilDone(() => Promise.reject(new Error('fatal')), {
    backoff,
    signal: never,
    onFailure: (error) => {
      throw error
    },
  })

  await expect(ends).rejects.toThrow('fatal')
})
