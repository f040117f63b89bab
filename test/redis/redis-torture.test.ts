import { expect, it } from 'vitest'
import { torture } from '../torture/torture.ts'

/** Those of this seed that docs/reliability.md names. */
const FAULTS = [
  'networkBreaksInside',
  'brokerRestarted',
  'brokerKilled',
  'producerKilled',
  'consumerFrozenBeyondLease',
  'consumerKilledBeforeAck',
  'consumerBlocked',
]

it('keeps every promise through a minute of faults', async () => {
  const { report, counts, faults } = await torture({
    kind: 'redis',
    seconds: 40,
    seed: 43,
    leastFaults: 12,
    pauseMs: [800, 2000],
  })

  expect(report).toBe('')
  expect(counts['finished']).toBeGreaterThan(1000)
  expect(faults.map((name) => name.replace(/^\d+ /, ''))).toEqual(expect.arrayContaining(FAULTS))
}, 300_000)
