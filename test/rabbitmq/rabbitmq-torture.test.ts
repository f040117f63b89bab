import { expect, it } from 'vitest'
import { torture } from '../torture/torture.ts'

/** Those of this seed that docs/reliability.md names. */
const FAULTS = [
  'networkSlow',
  'brokerKilled',
  'handlerExits',
  'brokerFrozen',
  'blackHole',
  'producerKilled',
  'consumerFrozenBeyondLease',
]

it('keeps every promise through a minute of faults', async () => {
  const { report, counts, faults } = await torture({
    kind: 'rabbitmq',
    seconds: 40,
    seed: 76,
    leastFaults: 11,
    pauseMs: [800, 2000],
  })

  expect(report).toBe('')
  expect(counts['finished']).toBeGreaterThan(1000)
  expect(faults.map((name) => name.replace(/^\d+ /, ''))).toEqual(expect.arrayContaining(FAULTS))
}, 300_000)
