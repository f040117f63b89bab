import { connect } from 'amqplib'
import { afterAll, beforeAll, it } from 'vitest'
import type { Broker } from '../brokers/broker.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import {
  cleansUpAfterCtrlC,
  findsNothing,
  findsWhatTheBrokerLoses,
  removesWhatAKilledRunHasLeft,
  runsAll,
  VERIFY_MS,
  type VerifiedBroker,
} from '../cli/verify-scene.ts'

/** The routing key with which a queue gets every event. */
const KEY = '#'

let server: Broker
let broker: VerifiedBroker

beforeAll(async () => {
  server = await launchBroker('rabbitmq')
  const list = (...what: string[]) => server.exec('rabbitmqctl', '--quiet', ...what)
  broker = {
    url: server.url,
    names: async () =>
      `${await list('list_queues', 'name')}\n${await list('list_exchanges', 'name')}`.split('\n'),
    // The broker confirms events that no queue of the group gets.
    lose: async (prefix) => {
      const connection = await connect(server.url)
      connection.on('error', () => undefined)
      try {
        const channel = await connection.createChannel()
        await channel.unbindQueue(`${prefix}.${prefix}.shared`, prefix, KEY)
      } finally {
        await connection.close()
      }
    },
  }
}, VERIFY_MS)

afterAll(() => server.dispose())

it('verify finds nothing, and leaves nothing behind', () => findsNothing(broker), VERIFY_MS)

if (runsAll) {
  it(
    'verify of a partitioned group finds nothing, and leaves nothing behind',
    () => findsNothing(broker, '--partitions', '4'),
    VERIFY_MS,
  )

  it('verify finds events that RabbitMQ has lost', () => findsWhatTheBrokerLoses(broker), VERIFY_MS)
}

it('verify cleans up after Ctrl-C', () => cleansUpAfterCtrlC(broker), VERIFY_MS)

it('verify --clean removes what a killed run has left', () => removesWhatAKilledRunHasLeft(broker), VERIFY_MS)
