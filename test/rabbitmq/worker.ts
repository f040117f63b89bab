// A consumer in a process of its own: writes `aggregateId customerId` for each handled event, and with partitions also the
// time by a clock that all processes of this machine share.
import { writeSync } from 'node:fs'
import { RabbitMQEventBus } from '../../src/rabbitmq/index.ts'
import { OrderCreated } from '../support/order-events.ts'

const [rabbitmqUrl = '', exchangeName = '', prefetchCount, partitions = '1'] = process.argv.slice(2)
const bus = new RabbitMQEventBus({
  rabbitmqUrl,
  exchangeName,
  prefetchCount: Number(prefetchCount),
  partitions: Number(partitions),
})
bus.subscribe(OrderCreated, async ({ aggregateId, customerId }) => {
  const time = partitions === '1' ? '' : ` ${process.hrtime.bigint()}`
  await Promise.resolve()
  writeSync(1, `${aggregateId} ${customerId}${time}\n`)
})
process.on('SIGTERM', () => void bus.shutdown())
await bus.startConsuming()
