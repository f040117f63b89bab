import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, inject, it, onTestFinished } from 'vitest'
import { OrderCreated } from '../support/order-events.ts'
import { createBus, freshName, until } from './scene.ts'

const EVENTS = 5000
const AGGREGATES = 100
const PREFETCH = 200

interface Worker {
  readonly process: ChildProcess
  /** One line per handled event: `aggregateId n`. */
  readonly handled: string[]
}

function startWorker(exchangeName: string): Worker {
  const script = fileURLToPath(new URL('./worker.ts', import.meta.url))
  const child = spawn(process.execPath, [script, inject('rabbitmqUrl'), exchangeName, String(PREFETCH)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const handled: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => handled.push(line))
  return { process: child, handled }
}

it('loses nothing when one of two workers is killed in the middle of 5,000 events', async () => {
  const exchangeName = freshName()
  const publisher = createBus({ exchangeName })
  const events = Array.from(
    { length: EVENTS },
    (_, n) => new OrderCreated({ aggregateId: `a${n % AGGREGATES}`, customerId: String(n) }),
  )
  const [victim, survivor] = [startWorker(exchangeName), startWorker(exchangeName)]
  await until('two consumers', async () => (await publisher.getQueueInfo()).consumerCount === 2)

  const publishing = (async () => {
    for (let start = 0; start < EVENTS; start += 250)
      await publisher.publish(events.slice(start, start + 250))
  })()
  await until('the victim to be busy', () => victim.handled.length > 300)
  victim.process.kill('SIGKILL')
  await Promise.all([publishing, once(victim.process, 'exit')])

  const union = () => new Set([...victim.handled, ...survivor.handled])
  await until('all events', () => union().size === EVENTS)
  survivor.process.kill('SIGTERM')
  await once(survivor.process, 'exit')
  expect(survivor.process.exitCode).toBe(0)
  expect(victim.handled.length + survivor.handled.length - EVENTS).toBeLessThanOrEqual(PREFETCH)
  expect(await publisher.getQueueInfo()).toMatchObject({ messageCount: 0, consumerCount: 0 })
  expect(await publisher.getDlqMessageCount()).toBe(0)
})
