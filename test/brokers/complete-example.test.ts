import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, inject, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

test.each([
  ['Redis', () => inject('redisUrl'), /eventsPublished: 2,\n {2}eventsConsumed: 2/],
  ['RabbitMQ', () => inject('rabbitmqUrl'), /eventsPublished: 2,\n {2}eventsConsumed: 2/],
  ['Kafka', () => `kafka://${inject('kafkaBootstrapServers')}`, /eventsPublished: 2,\n {2}eventsConsumed: 2/],
  // The events are in PostgreSQL, and the bus in memory.
  ['PostgreSQL', () => inject('postgresUrl'), /eventsPublished: 2,\n {2}handlersInvoked: 6/],
])('the complete example runs on %s', async (_name, url, statistics) => {
  const { stdout } = await run(process.execPath, ['examples/complete-example.ts', url()], { cwd: root })

  const lines = stdout
    .split('\n')
    .slice(0, 6)
    .map((line) => line.replace(/ (for|at) .*/, ''))
  expect(lines.toSorted()).toEqual([
    'Analytics: Recording OrderCreated',
    'Analytics: Recording OrderShipped',
    'Audit: OrderCreated',
    'Audit: OrderShipped',
    'Sending order confirmation',
    'Sending shipping notification',
  ])
  expect(stdout).toMatch(statistics)
})
