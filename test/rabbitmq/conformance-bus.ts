// Creates the buses that the conformance suite runs in processes of their own.
import { RabbitMQEventBus } from '../../src/rabbitmq/index.ts'
import type { CreateBusOptions } from '../../src/testing/index.ts'

export function create({ scope, ...options }: CreateBusOptions): RabbitMQEventBus {
  const rabbitmqUrl = process.env['EVENTSPINE_TEST_RABBITMQ_URL'] ?? ''
  const queueType = process.env['EVENTSPINE_TEST_QUEUE_TYPE'] === 'quorum' ? 'quorum' : 'classic'
  return new RabbitMQEventBus({ ...options, rabbitmqUrl, queueType, exchangeName: scope, prefetchCount: 100 })
}
