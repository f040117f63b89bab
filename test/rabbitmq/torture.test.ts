import { expect, it } from 'vitest'
import { SHORT_RUN_MS, shortRun } from '../torture/short-run.ts'
import { torture } from '../torture/torture.ts'

it(
  'keeps every promise through a minute of faults',
  () =>
    shortRun({
      kind: 'rabbitmq',
      seed: 76,
      leastFaults: 11,
      faults: [
        'networkSlow',
        'brokerKilled',
        'handlerExits',
        'brokerFrozen',
        'blackHole',
        'producerKilled',
        'consumerFrozenBeyondLease',
      ],
    }),
  SHORT_RUN_MS,
)

it(
  'keeps the order of each aggregate across four consumers that are killed and added, and a restart of the broker',
  async () => {
    const { report, counts } = await torture({
      kind: 'rabbitmq',
      seconds: 5,
      seed: 11,
      partitions: 8,
      leastFaults: 3,
      faults: ['consumerKilledBeforeAck', 'brokerRestarted', 'consumerAdded'],
      pauseMs: [200, 500],
    })

    expect(report).toBe('')
    expect(counts['finished']).toBeGreaterThan(300)
  },
  SHORT_RUN_MS,
)
