// A consumer in a process of its own: writes `aggregateId customerId` for each handled event, and with partitions also the
// time by a clock that all processes of this machine share. With `keep`, the first attempt of every fourth event fails, and its
// aggregate waits on the broker.
import { writeSync } from 'node:fs'
import type { HandlerContext } from '../../src/index.ts'
import { RabbitMQEventBus } from '../../src/rabbitmq/index.ts'
import { OrderCreated } from '../support/order-events.ts'

const [rabbitmqUrl = '', exchangeName = '', prefetchCount, partitions = '1', waits = ''] =
  process.argv.slice(2)
const bus = new RabbitMQEventBus({
  rabbitmqUrl,
  exchangeName,
  prefetchCount: Number(prefetchCount),
  partitions: Number(partitions),
})
const isKeeping = waits === 'keep'
const handler = async ({ aggregateId, customerId }: OrderCreated, { attempt }: HandlerContext) => {
  if (isKeeping && attempt === 1 && Number(customerId) % 4 === 0) throw new Error('planned')
  const time = partitions === '1' ? '' : ` ${process.hrtime.bigint()}`
  await Promise.resolve()
  writeSync(1, `${aggregateId} ${customerId}${time}\n`)
}
bus.subscribe(
  OrderCreated,
  handler,
  isKeeping ? { name: 'bill', retryDelaysMs: [100], longWaits: { fromMs: 50, order: 'keep' } } : {},
)
process.on('SIGTERM', () => void bus.shutdown())
await bus.startConsuming()
