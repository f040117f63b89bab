import { connect } from 'amqplib'
import { afterAll, beforeAll, it } from 'vitest'
import type { Broker } from '../brokers/broker.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import {
  cleansUpAfterCtrlC,
  findsNothing,
  findsWhatTheBrokerLoses,
  VERIFY_MS,
  type VerifiedBroker,
} from '../cli/verify-scene.ts'

let server: Broker
let broker: VerifiedBroker

beforeAll(async () => {
  server = await launchBroker('rabbitmq')
  const list = (what: string) => server.exec('rabbitmqctl', '--quiet', what, 'name')
  broker = {
    url: server.url,
    names: async () => `${await list('list_queues')}\n${await list('list_exchanges')}`.split('\n'),
    lose: async (prefix) => {
      const connection = await connect(server.url)
      connection.on('error', () => undefined)
      try {
        const channel = await connection.createChannel()
        channel.on('error', () => undefined)
        await channel.purgeQueue(`${prefix}.${prefix}.shared`)
      } finally {
        await connection.close()
      }
    },
  }
}, VERIFY_MS)

afterAll(() => server.dispose())

it('verify finds nothing, and leaves nothing behind', () => findsNothing(broker), VERIFY_MS)

it(
  'verify of a partitioned group finds nothing, and leaves nothing behind',
  () => findsNothing(broker, '--partitions', '4'),
  VERIFY_MS,
)

it('verify finds events that RabbitMQ has lost', () => findsWhatTheBrokerLoses(broker), VERIFY_MS)

it('verify cleans up after Ctrl-C', () => cleansUpAfterCtrlC(broker), VERIFY_MS)
