import { expect, it } from 'vitest'
import { torture } from '../torture/torture.ts'

/** Those of this seed that docs/reliability.md names. */
const FAULTS = [
  'consumerAdded',
  'brokerKilled',
  'handlerExits',
  'consumerBlocked',
  'producerKilled',
  'blackHole',
]

it('keeps every promise through a minute of faults', async () => {
  const { report, counts, faults } = await torture({
    kind: 'kafka',
    seconds: 40,
    seed: 349,
    leastFaults: 11,
    pauseMs: [800, 2000],
  })

  expect(report).toBe('')
  expect(counts['finished']).toBeGreaterThan(1000)
  expect(faults.map((name) => name.replace(/^\d+ /, ''))).toEqual(expect.arrayContaining(FAULTS))
}, 300_000)
