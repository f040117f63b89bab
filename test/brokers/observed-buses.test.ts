import { randomUUID } from 'node:crypto'
import { expect, inject, it } from 'vitest'
import { BrokerEventBus, createEventBus } from '../../src/index.ts'
import { TestBus } from '../../src/testing/index.ts'
import { paced } from '../support/pace.ts'
import { billing, InvoiceIssued, OrderPlaced, placed, silent } from '../testing/kit/observed-scene.ts'

const URLS: readonly (readonly [name: string, url: () => string])[] = [
  ['Redis', () => inject('redisUrl')],
  ['RabbitMQ', () => inject('rabbitmqUrl')],
  ['Kafka', () => `kafka://${inject('kafkaBootstrapServers')}`],
]

it.concurrent.each(URLS)('TestBus.on has the same expectations on %s', async (_name, url) => {
  const options = { prefix: `kit-${randomUUID()}`, consumerGroup: 'billing', logger: silent, maxRetries: 1 }
  await using bus = createEventBus(url(), { ...options, retryBaseDelayMs: 5, retryMaxDelayMs: 5 })
  expect(bus).toBeInstanceOf(BrokerEventBus)
  billing(bus)
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  using kit = TestBus.on({ billing: bus }, { timeoutMs: paced(10_000) })

  const first = placed()
  const run = await kit.publish(first)
  const [invoice] = run.expectPublished(InvoiceIssued)
  expect(invoice?.amount).toBe(42)
  run.expectHandled('mail')
  run.expectNoFailures()
  run.expectNotPublished(OrderPlaced)
  expect(run.tree()).toBe(
    [
      'OrderPlaced of Order-1',
      '  -> billing/invoice attempt 1 handled',
      '  InvoiceIssued of Invoice-Order-1 by invoice',
      '    -> billing/mail attempt 1 handled',
    ].join('\n'),
  )

  // An event that arrives again, and a handler that is not idempotent.
  const again = await kit.redeliver(first)
  expect(() => again.expectNotPublished(InvoiceIssued)).toThrow(
    /published once\.\n\nOrderPlaced of Order-1\n/,
  )

  kit.fail('invoice')
  const retried = await kit.publish(placed(2))
  retried.expectFailed('invoice')
  retried.expectHandled('invoice')
  retried.expectDeadLetters(0)

  kit.fail('mail', { times: 2, error: new Error('no address') })
  const [letter] = (await kit.publish(placed(3))).expectDeadLetters(1)
  expect(letter).toMatchObject({ errorMessage: 'no address', handlerNames: ['mail'], attempts: 2 })
})
