import { expect, it } from 'vitest'
import { torture } from '../torture/torture.ts'

it('keeps every promise through a minute of faults', async () => {
  const { report, counts, faults } = await torture({
    kind: 'redis',
    seconds: 45,
    seed: 1,
    pauseMs: [800, 2000],
  })

  expect(report).toBe('')
  expect(counts['finished']).toBeGreaterThan(1000)
  expect(faults.length).toBeGreaterThan(3)
  expect(faults.join()).toContain('brokerKilled')
}, 240_000)
