import { expect } from 'vitest'
import type { BrokerKind } from '../brokers/broker.ts'
import { paced } from '../support/pace.ts'
import { torture } from './torture.ts'
import type { FaultName } from './torture-faults.ts'

/** Maximum duration of a short run, in milliseconds. It includes the wait for all events to settle, after which violations are reported. */
export const SHORT_RUN_MS = paced(300_000)

export interface ShortRun {
  readonly kind: BrokerKind
  readonly seed: number
  readonly leastFaults: number
  /** The faults of this seed that docs/reliability.md names. */
  readonly faults: readonly FaultName[]
}

/** A minute of faults, without any violation. */
export async function shortRun({ faults, ...options }: ShortRun): Promise<void> {
  const result = await torture({ ...options, seconds: 40, pauseMs: [800, 2000] })

  expect(result.report).toBe('')
  expect(result.counts['finished']).toBeGreaterThan(1000)
  expect(result.faults.map((name) => name.replace(/^\d+ /, ''))).toEqual(expect.arrayContaining([...faults]))
}
