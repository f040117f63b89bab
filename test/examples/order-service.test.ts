import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { draft } from 'eventspine'
import { given, waitFor } from 'eventspine/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Order, OrderPaid, OrderPlaced, PaymentFailed } from '../../examples/order-service/order.ts'
import { freePort } from '../brokers/free-port.ts'
import { paced } from '../support/pace.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Listed {
  readonly id: string
  readonly status: string
}

/** Starts the service, as its first line says. @returns how to call it, and what it has printed. */
async function start(file: string) {
  const port = await freePort()
  const env = { ...process.env, STORE_URL: `sqlite:${file}`, PORT: String(port) }
  const service = spawn(process.execPath, ['examples/order-service/main.ts'], { cwd: root, env })
  onTestFinished(() => void service.kill('SIGKILL'))
  const lines: string[] = []
  service.stdout.on('data', (data: Buffer) => lines.push(...data.toString().trim().split('\n')))
  const errors: string[] = []
  service.stderr.on('data', (data: Buffer) => errors.push(data.toString()))
  const isListening = () => lines.some((line) => line.startsWith('listening'))
  await waitFor(isListening, { timeoutMs: paced(20_000), describe: () => errors.join('') })
  const call = (path: string, body?: object) =>
    fetch(`http://127.0.0.1:${port}${path}`, body && { method: 'POST', body: JSON.stringify(body) })
  return { service, lines, call, list: async () => (await (await call('/orders')).json()) as Listed[] }
}

async function stop(service: ChildProcess): Promise<void> {
  service.kill('SIGTERM')
  if (service.exitCode === null) await once(service, 'exit')
}

it('takes orders, retries a payment that fails, refuses another, and shows both after a restart', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-orders-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const first = await start(join(folder, 'orders.db'))
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
  await stop(first.service)
  expect(first.service.exitCode).toBe(0)

  const second = await start(join(folder, 'orders.db'))
  await waitFor(async () => (await second.list()).length === 4, { timeoutMs: paced(10_000) })
  expect(second.lines.filter((line) => line.startsWith('mail:'))).toEqual([])
  await stop(second.service)
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
