import { expect, it } from 'vitest'
import { leftOut } from '../../scripts/vitest-report.ts'

const reportOf = (...assertionResults: { fullName: string; status: string }[]) => ({
  numPassedTests: 0,
  numFailedTests: 0,
  numPendingTests: 0,
  testResults: [{ assertionResults }],
})

it('counts the tests that are left out by reason, and lists those without one', () => {
  const report = reportOf(
    { fullName: 'a (lacks history: a queue (classic) has none)', status: 'skipped' },
    { fullName: 'b (lacks history: a queue (classic) has none)', status: 'pending' },
    { fullName: 'c (consumer) (needs faults.crash)', status: 'skipped' },
    { fullName: 'd (consumer)', status: 'skipped' },
    { fullName: 'e (lacks nothing)', status: 'passed' },
    { fullName: 'f', status: 'failed' },
  )

  const { reasons, unexplained } = leftOut(report)

  expect(Object.fromEntries(reasons)).toEqual({
    'lacks history: a queue (classic) has none': 2,
    'needs faults.crash': 1,
  })
  expect(unexplained).toEqual(['d (consumer)'])
})
