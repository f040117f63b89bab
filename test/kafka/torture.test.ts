import { it } from 'vitest'
import { SHORT_RUN_MS, shortRun } from '../torture/short-run.ts'

it(
  'keeps every promise through a minute of faults',
  () =>
    shortRun({
      kind: 'kafka',
      seed: 349,
      leastFaults: 11,
      faults: [
        'consumerAdded',
        'brokerKilled',
        'handlerExits',
        'consumerBlocked',
        'producerKilled',
        'blackHole',
      ],
    }),
  SHORT_RUN_MS,
)
