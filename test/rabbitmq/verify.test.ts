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
  const list = (...what: string[]) => server.exec('rabbitmqctl', '--quiet', ...what)
  broker = {
    url: server.url,
    names: async () =>
      `${await list('list_queues', 'name')}\n${await list('list_exchanges', 'name')}`.split('\n'),
    lose: async (prefix) => {
      const bindings = await list('list_bindings', 'source_name', 'destination_name', 'routing_key')
      const own = bindings
        .split('\n')
        .map((line) => line.split('\t'))
        .filter(([source, queue]) => source === prefix && queue === `${prefix}.${prefix}.shared`)
      const connection = await connect(server.url)
      connection.on('error', () => undefined)
      try {
        const channel = await connection.createChannel()
        for (const [source = '', queue = '', key = ''] of own) await channel.unbindQueue(queue, source, key)
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
