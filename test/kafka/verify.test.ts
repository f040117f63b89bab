import { inject, it } from 'vitest'
import {
  cleansUpAfterCtrlC,
  findsNothing,
  findsWhatTheBrokerLoses,
  removesWhatAKilledRunHasLeft,
  runsAll,
  VERIFY_MS,
  type VerifiedBroker,
} from '../cli/verify-scene.ts'
import { administer } from './plain-kafka.ts'

const PARTITIONS = [0, 1, 2, 3, 4, 5]
/** The end of the log. */
const END = -1n

function broker(): VerifiedBroker {
  const server = inject('kafkaBootstrapServers')
  return {
    url: `kafka://${server}`,
    names: () =>
      administer(server, async (it) => [...(await it.listTopics()), ...(await it.listGroups()).keys()]),
    lose: (prefix) => {
      const partitions = PARTITIONS.map((partition) => ({ partition, offset: END }))
      return administer(server, (it) =>
        it.deleteRecords({ topics: [{ name: `${prefix}.stream`, partitions }] }),
      )
    },
  }
}

it('verify finds nothing, and leaves nothing behind', () => findsNothing(broker()), VERIFY_MS)

if (runsAll) it('verify finds events that Kafka has lost', () => findsWhatTheBrokerLoses(broker()), VERIFY_MS)

it('verify cleans up after Ctrl-C', () => cleansUpAfterCtrlC(broker()), VERIFY_MS)

it(
  'verify --clean removes what a killed run has left',
  () => removesWhatAKilledRunHasLeft(broker()),
  VERIFY_MS,
)
