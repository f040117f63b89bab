// A consumer in a process of its own: writes `aggregateId customerId` for each handled event.
import { writeSync } from 'node:fs'
import { RabbitMQEventBus } from '../../src/rabbitmq/index.ts'
import { OrderCreated } from '../support/order-events.ts'

const [rabbitmqUrl = '', exchangeName = '', prefetchCount] = process.argv.slice(2)
const bus = new RabbitMQEventBus({ rabbitmqUrl, exchangeName, prefetchCount: Number(prefetchCount) })
bus.subscribe(OrderCreated, async ({ aggregateId, customerId }) => {
  await Promise.resolve()
  writeSync(1, `${aggregateId} ${customerId}\n`)
})
process.on('SIGTERM', () => void bus.shutdown())
await bus.startConsuming()
