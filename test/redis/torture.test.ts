import { expect, it } from 'vitest'
import { SHORT_RUN_MS, shortRun } from '../torture/short-run.ts'
import { torture } from '../torture/torture.ts'

it(
  'keeps every promise through a minute of faults',
  () =>
    shortRun({
      kind: 'redis',
      seed: 43,
      leastFaults: 12,
      faults: [
        'networkBreaksInside',
        'brokerRestarted',
        'brokerKilled',
        'producerKilled',
        'consumerFrozenBeyondLease',
        'consumerKilledBeforeAck',
        'consumerBlocked',
      ],
    }),
  SHORT_RUN_MS,
)

it(
  'keeps the order of each aggregate across four consumers that are killed, frozen, added and replaced',
  async () => {
    const { report, counts } = await torture({
      kind: 'redis',
      seconds: 5,
      seed: 11,
      partitions: 8,
      leastFaults: 3,
      faults: ['consumerKilledBeforeAck', 'consumerFrozenBeyondLease', 'consumerAdded'],
      pauseMs: [200, 500],
    })

    expect(report).toBe('')
    expect(counts['finished']).toBeGreaterThan(300)
  },
  SHORT_RUN_MS,
)
