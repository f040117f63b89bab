import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { draft } from 'eventspine'
import { given, waitFor } from 'eventspine/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Order, OrderPaid, OrderPlaced, PaymentFailed } from '../../examples/order-service/order.ts'
import { paced } from '../support/pace.ts'
import { startOrderService, stopOrderService } from './order-service-process.ts'

it('takes orders, retries a payment that fails, refuses another, and shows both after a restart', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-orders-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const first = await startOrderService({ STORE_URL: `sqlite:${join(folder, 'orders.db')}` })
  for (const total of [10, 20, 30, 5000]) {
    expect((await first.call('/orders', { customer: 'ann', total })).status).toBe(201)
  }

  const statuses = async () => (await first.list()).map(({ status }) => status)
  const isDone = async () => (await statuses()).every((status) => status !== 'placed')
  await waitFor(isDone, { timeoutMs: paced(20_000), describe: () => first.lines.join('\n') })

  expect(await statuses()).toEqual(['paid', 'paid', 'paid', 'refused'])
  await waitFor(() => first.lines.filter((line) => line.startsWith('mail:')).length === 4)
  expect(first.lines.filter((line) => line.endsWith('the limit of the card is 1,000'))).toHaveLength(1)
  expect((await first.call('/orders', { customer: '', total: 1 })).status).toBe(400)
  expect([(await first.call('/ready')).status, (await first.call('/live')).status]).toEqual([200, 200])
  expect(await (await first.call('/metrics')).text()).toContain('eventspine_messages_handled')
  await stopOrderService(first.process)
  expect(first.process.exitCode).toBe(0)

  const second = await startOrderService({ STORE_URL: `sqlite:${join(folder, 'orders.db')}` })
  await waitFor(async () => (await second.list()).length === 4, { timeoutMs: paced(10_000) })
  expect(second.lines.filter((line) => line.startsWith('mail:'))).toEqual([])
  await stopOrderService(second.process)
})

describe('an order', () => {
  const placed = draft(OrderPlaced, { customer: 'ann', total: 1 })

  it('is paid or refused once', () => {
    given(Order, [placed])
      .when((order) => order.pay('receipt-1'))
      .expect([draft(OrderPaid, { receipt: 'receipt-1' })])
    given(Order, [placed, draft(OrderPaid, { receipt: 'receipt-1' })])
      .when((order) => order.refuse('too late'))
      .expectNothing()
    given(Order, [placed])
      .when((order) => order.refuse('no money'))
      .expect([draft(PaymentFailed, { reason: 'no money' })])
  })
})
