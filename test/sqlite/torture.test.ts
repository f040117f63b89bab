import { expect, it } from 'vitest'
import { paced } from '../support/pace.ts'
import { untilFound } from '../torture/planted-fault.ts'
import type { StoreBreakage } from '../torture/stores/breakage.ts'
import { type StoreFault, tortureStores } from '../torture/stores/run.ts'

const timeout = paced(120_000)

it('keeps every guarantee while writers and subscriptions are killed and the file is locked', {
  timeout,
}, async () => {
  const { violations, faults, stored } = await tortureStores({ kind: 'sqlite', seconds: 6, seed: 7 })

  expect(violations).toEqual([])
  expect(stored).toBeGreaterThan(200)
  expect(faults).toContain('subscriberFrozen')
})

/** This test proves that the check can fail. */
it.each<[StoreBreakage, readonly StoreFault[], RegExp]>([
  ['confirmsEarly', ['writerKilled'], /confirmed event is missing/],
  ['checkpointsAhead', ['subscriberKilled'], /lost an event/],
  ['leasesToAll', [], /handled \d+ events again at 0 faults/],
])('the torture fails stores that break a promise: %s', { timeout }, async (breakage, faults, words) => {
  const { violations } = await untilFound(
    (seed) => tortureStores({ kind: 'sqlite', seconds: 2, seed, breakage, faults }),
    (result) => result.violations.some((violation) => words.test(violation)),
  )

  expect(violations).toContainEqual(expect.stringMatching(words))
})
