import { it } from 'vitest'
import { SHORT_RUN_MS, shortRun } from '../torture/short-run.ts'

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
