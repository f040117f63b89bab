// The same file runs with node:test, Vitest and Jest: `npm run test:runners`. The last two define `test` globally.
import assert from 'node:assert/strict'
import { AggregateRoot, defineEvent, draft, evolution } from 'eventspine'
import { buildEvent, given, project, TestBus } from 'eventspine/testing'
import { z } from 'zod'

const test = globalThis.test ?? (await import('node:test')).test

class OrderPlaced extends defineEvent({
  type: 'OrderPlaced',
  aggregateType: 'Order',
  schema: z.object({ total: z.number() }),
}) {}

class InvoiceIssued extends defineEvent({
  type: 'InvoiceIssued',
  aggregateType: 'Invoice',
  schema: z.object({ amount: z.number() }),
}) {}

class Order extends AggregateRoot {
  initialState = {}
  evolve = evolution().on(OrderPlaced, (state) => state)

  place(total) {
    this.raise(OrderPlaced, { total })
  }
}

const billing = (bus) =>
  bus.subscribe(
    OrderPlaced,
    ({ aggregateId, total }) => bus.publish([new InvoiceIssued({ aggregateId, amount: total })]),
    { name: 'invoice' },
  )

test('a run has all that followed', async () => {
  const kit = await TestBus.start(billing)
  const run = await kit.publish(buildEvent(OrderPlaced, { total: 42 }))
  assert.equal(run.expectPublished(InvoiceIssued)[0].amount, 42)
  await kit.stop()
})

test('retries skip their delays', async () => {
  const kit = await TestBus.start(billing)
  kit.fail('invoice', { times: 3 })
  const run = await kit.publish(buildEvent(OrderPlaced))
  run.expectFailed('invoice', 3)
  run.expectHandled('invoice')
  await kit.stop()
})

test('a failed expectation throws an AssertionError with the tree', async () => {
  const kit = await TestBus.start(() => {})
  const run = await kit.publish(buildEvent(OrderPlaced))
  assert.throws(() => run.expectPublished(InvoiceIssued), {
    name: 'AssertionError',
    message: /once, but published 0 times\.\n\nOrderPlaced of Order-1/,
  })
  await kit.stop()
})

test('given and project', async () => {
  given(Order, [])
    .when((order) => order.place(42))
    .expect([draft(OrderPlaced, { total: 42 })])
  const totals = []
  await project(({ total }) => totals.push(total), [draft(OrderPlaced, { total: 7 })])
  assert.deepEqual(totals, [7])
})
