import { expect, it } from 'vitest'
import { torture } from '../torture/torture.ts'

it('keeps every promise through a minute of faults', async () => {
  const { report, counts, faults } = await torture({ kind: 'rabbitmq', seconds: 36, seed: 3 })

  expect(report).toBe('')
  expect(counts['finished']).toBeGreaterThan(1000)
  expect(faults.length).toBeGreaterThan(3)
}, 240_000)
