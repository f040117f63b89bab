import { type WaitForOptions, waitFor as waitForUnpaced } from '../../src/testing/wait-for.ts'
import { paced } from './pace.ts'

/** `waitFor` with a timeout that is scaled to the pace of the machine. */
export const waitFor: typeof waitForUnpaced = (
  condition,
  { timeoutMs = 5000, ...options }: WaitForOptions = {},
) => waitForUnpaced(condition, { timeoutMs: paced(timeoutMs), ...options })
