import { expect, it } from 'vitest'
import { paced } from '../support/pace.ts'
import { untilFound } from '../torture/planted-fault.ts'
import { tortureStores } from '../torture/stores/run.ts'

const timeout = paced(120_000)

it('keeps every guarantee through faults of writers, subscriptions and the server', { timeout }, async () => {
  const { violations, faults, stored } = await tortureStores({ kind: 'postgres', seconds: 10, seed: 11 })

  expect(violations).toEqual([])
  expect(stored).toBeGreaterThan(200)
  expect(faults).toContain('connectionsCut')
})

/** This test proves that the check can fail. */
it('the torture run detects a feed that relies on the sequence alone', { timeout }, async () => {
  const breakage = 'naiveFeed'
  const words = /lost an event/
  const { violations } = await untilFound(
    (seed) => tortureStores({ kind: 'postgres', seconds: 3, seed, breakage, faults: [] }),
    (result) => result.violations.some((violation) => words.test(violation)),
  )

  expect(violations).toContainEqual(expect.stringMatching(words))
})
