import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { expect, inject, it, type TestContext } from 'vitest'
import { waitFor } from '../../src/testing/index.ts'
import { startOrderService, stopOrderService } from '../examples/order-service-process.ts'
import { paced } from '../support/pace.ts'

async function createDatabase(onTestFinished: TestContext['onTestFinished']): Promise<string> {
  const name = `orders_${randomUUID().slice(0, 8)}`
  const onServer = async (statement: string) => {
    const client = new Client({ connectionString: inject('postgresUrl') })
    await client.connect()
    await client.query(statement)
    await client.end()
  }
  await onServer(`create database ${name}`)
  onTestFinished(() => onServer(`drop database ${name} with (force)`))
  return Object.assign(new URL(inject('postgresUrl')), { pathname: `/${name}` }).href
}

it.concurrent.for<readonly [name: string, url: () => string]>([
  ['Redis', () => inject('redisUrl')],
  ['RabbitMQ', () => inject('rabbitmqUrl')],
  ['Kafka', () => `kafka://${inject('kafkaBootstrapServers')}`],
])('the order service runs on PostgreSQL and %s', async ([, busUrl], { onTestFinished }) => {
  const settings = {
    STORE_URL: await createDatabase(onTestFinished),
    BUS_URL: busUrl(),
    PREFIX: `orders-${randomUUID()}`,
  }
  const service = await startOrderService(settings, onTestFinished)
  for (const total of [10, 20, 30, 5000]) {
    expect((await service.call('/orders', { customer: 'ann', total })).status).toBe(201)
  }

  const statuses = async () => (await service.list()).map(({ status }) => status)
  const mails = () => service.lines.filter((line) => line.startsWith('mail:'))
  await waitFor(async () => mails().length === 4 && !(await statuses()).includes('placed'), {
    timeoutMs: paced(20_000),
    describe: () => service.lines.join('\n'),
  })

  expect(await statuses()).toEqual(['paid', 'paid', 'paid', 'refused'])
  expect((await service.call('/ready')).status).toBe(200)
  await stopOrderService(service.process)
  expect(service.process.exitCode).toBe(0)
})
