import { it } from 'vitest'
import { SHORT_RUN_MS, shortRun } from '../torture/short-run.ts'

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
