import { expect, it } from 'vitest'
import { worst } from '../../src/observability/health-status.ts'

it.each([
  [[], 'up'],
  [['up', 'up'], 'up'],
  [['up', 'degraded', 'up'], 'degraded'],
  [['degraded', 'down', 'up'], 'down'],
] as const)('the worst of %j is %s', (statuses, expected) => {
  expect(worst(statuses)).toBe(expected)
})
