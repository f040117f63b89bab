import { afterEach, beforeEach } from 'vitest'
import { forgetStarts, startLines } from './broker-starts.ts'

beforeEach(forgetStarts)

// A test that restarts a broker waits for the broker first, and its failure says how long that took.
afterEach(({ task }) => {
  const lines = startLines()
  if (lines.length === 0) return
  for (const error of task.result?.errors ?? []) error.message += `\n\n${lines.join('\n')}`
})
