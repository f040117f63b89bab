import { expect, it } from 'vitest'
import type { DomainEvent } from '../../../src/index.ts'
import { MemoryBroker } from '../../../src/testing/index.ts'
import { orderCreated } from '../../support/order-events.ts'
import { FaultyBus } from '../../testing/faulty-buses.ts'

const CALLS = 20_000

/** CPU time of this thread, in milliseconds: the load of the machine does not matter. */
function cpuMs(): number {
  // Node.js 22 has only that of the process.
  const { user, system } = process.threadCpuUsage?.() ?? process.cpuUsage()
  return (user + system) / 1000
}

/** The shortest of ten measurements of each, in turns. */
async function shortest(...measures: readonly (() => Promise<number>)[]): Promise<readonly number[]> {
  const least = measures.map(() => Number.POSITIVE_INFINITY)
  for (let n = 0; n < 10; n += 1) {
    for (const [index, measure] of measures.entries()) {
      least[index] = Math.min(least[index] ?? 0, await measure())
    }
  }
  return least
}

/** CPU time that starting the calls takes, before the caller lets the event loop run. */
async function startOf(calls: () => readonly Promise<unknown>[]): Promise<number> {
  const before = cpuMs()
  const started = calls()
  const spent = cpuMs() - before
  await Promise.all(started)
  return spent
}

it('starting 20,000 publishes costs little more than creating as many promises', async () => {
  const bus = new FaultyBus({}, new MemoryBroker(), () => ({ publish: async () => [] }))
  const events = Array.from({ length: CALLS }, (_, n) => orderCreated(`Order-${n % 500}`))
  const bare = async (one: readonly DomainEvent[]) => {
    await new Promise((resolve) => setImmediate(resolve, one))
  }

  const [floor = 0, spent = 0] = await shortest(
    () => startOf(() => events.map((event) => bare([event]))),
    () => startOf(() => events.map((event) => bus.publish([event]))),
  )

  expect(spent).toBeLessThan(Math.max(25, floor * 4))
  await bus.shutdown()
})

it('publishes what the array held at the call, although the caller uses it again', async () => {
  const sent: (string | undefined)[] = []
  const bus = new FaultyBus({}, new MemoryBroker(), () => ({
    publish: async (messages) => {
      sent.push(...messages.map(({ headers }) => headers['aggregate_id']))
      return []
    },
  }))
  const buffer: DomainEvent[] = []
  const publishing: Promise<void>[] = []
  for (let n = 0; n < 3000; n += 1) {
    buffer.push(orderCreated(`Order-${n}`))
    publishing.push(bus.publish(buffer))
    buffer.length = 0
  }
  await Promise.all(publishing)

  expect(sent).toEqual(Array.from({ length: 3000 }, (_, n) => `Order-${n}`))
  expect(bus.getStats().eventsPublished).toBe(3000)
  await bus.shutdown()
})
