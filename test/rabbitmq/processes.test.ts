import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, inject, it, onTestFinished } from 'vitest'
import { OrderCreated } from '../support/order-events.ts'
import { orderFaults } from '../support/order-judge.ts'
import { paced } from '../support/pace.ts'
import { createBus, freshName, until } from './scene.ts'

const EVENTS = 5000
const AGGREGATES = 100
const PREFETCH = 200

interface Worker {
  readonly process: ChildProcess
  /** One line per handled event: `aggregateId n`. */
  readonly handled: string[]
}

function startWorker(exchangeName: string, partitions = 1, ...more: readonly string[]): Worker {
  const script = fileURLToPath(new URL('./worker.ts', import.meta.url))
  const args = [script, inject('rabbitmqUrl'), exchangeName, String(PREFETCH), String(partitions), ...more]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
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

/** A run of a handler in a worker; `time` is in nanoseconds. */
function runsOf({ handled }: Worker) {
  return handled.map((line) => {
    const [aggregateId = '', n, time = '0'] = line.split(' ')
    return { aggregateId, n: Number(n), time: BigInt(time) }
  })
}

it('keeps the order of each aggregate when workers that share partitions are killed and stopped, and others take over in seconds', async () => {
  const exchangeName = freshName()
  const publisher = createBus({ exchangeName, partitions: 8 })
  const workers = [startWorker(exchangeName, 8), startWorker(exchangeName, 8), startWorker(exchangeName, 8)]
  const [victim, stopped] = workers
  if (victim === undefined || stopped === undefined) throw new Error('no workers')
  await until('three workers, each with partitions', async () => {
    const { partitions = [], consumerCount } = await publisher.getQueueInfo()
    return consumerCount === 3 && partitions.every((partition) => partition.consumerCount === 2)
  })
  let rounds = 0
  const publishRound = async () => {
    const n = String(rounds++)
    await publisher.publish(
      Array.from({ length: AGGREGATES }, (_, index) => {
        return new OrderCreated({ aggregateId: `a${index}`, customerId: n })
      }),
    )
  }
  const waiting = () => rounds * AGGREGATES - workers.reduce((sum, { handled }) => sum + handled.length, 0)
  const publishUntil = async (what: string, condition: () => unknown) => {
    const met = until(what, condition).then(() => true)
    // Not faster than the workers, which would need longer for what waits than the test has.
    const publishMore = () => (waiting() > 20 * AGGREGATES ? sleep(10) : publishRound())
    while (!(await Promise.race([met, publishMore().then(() => false)])));
  }
  const runs = () => workers.flatMap(runsOf).sort((a, b) => (a.time < b.time ? -1 : 1))
  await publishUntil('all to be busy', () => workers.every(({ handled }) => handled.length > 300))

  const killedAt = process.hrtime.bigint()
  victim.process.kill('SIGKILL')
  const orphans = new Set(runsOf(victim).map(({ aggregateId }) => aggregateId))
  const adopted = () => {
    return new Map(
      runs()
        .filter(({ aggregateId, time }) => orphans.has(aggregateId) && time > killedAt)
        .map(({ aggregateId, time }) => [aggregateId, time] as const)
        .reverse(),
    )
  }
  await publishUntil('others to take over', () => adopted().size === orphans.size)
  workers.push(startWorker(exchangeName, 8))
  await publishUntil('the new worker to share', () => (workers[3]?.handled.length ?? 0) > 100)
  stopped.process.kill('SIGTERM')
  await once(stopped.process, 'exit')
  for (let round = 0; round < 5; round += 1) await publishRound()
  const distinct = () => new Set(runs().map(({ aggregateId, n }) => `${aggregateId} ${n}`)).size
  await until('all events', () => distinct() === rounds * AGGREGATES)

  expect(orderFaults(runs())).toEqual([])
  const takeovers = [...adopted().values()].map((time) => Number(time - killedAt) / 1e6)
  expect(Math.max(...takeovers)).toBeLessThan(paced(5000))
  expect(await publisher.getDlqMessageCount()).toBe(0)
})

it('keeps the order of each aggregate behind long waits when a worker is killed', async () => {
  const exchangeName = freshName()
  const publisher = createBus({ exchangeName, partitions: 4 })
  const workers = [startWorker(exchangeName, 4, 'keep'), startWorker(exchangeName, 4, 'keep')]
  const [victim] = workers
  await until('two workers, each with partitions', async () => {
    const { partitions = [], consumerCount } = await publisher.getQueueInfo()
    return consumerCount === 2 && partitions.every((partition) => partition.consumerCount === 2)
  })
  let rounds = 0
  const publishRound = async () => {
    const customerId = String(rounds++)
    await publisher.publish(
      Array.from({ length: 12 }, (_, index) => new OrderCreated({ aggregateId: `a${index}`, customerId })),
    )
  }
  const runs = () => workers.flatMap(runsOf).sort((a, b) => (a.time < b.time ? -1 : 1))
  for (let round = 0; round < 6; round += 1) await publishRound()
  await until('the victim to be busy', () => (victim?.handled.length ?? 0) > 5)
  await until('events to wait', async () => (await publisher.countWaiting()) > 0)
  victim?.process.kill('SIGKILL')
  for (let round = 0; round < 4; round += 1) await publishRound()
  const firsts = () =>
    Map.groupBy(
      new Map(
        runs()
          .toReversed()
          .map((run) => [`${run.aggregateId} ${run.n}`, run]),
      ).values(),
      ({ aggregateId }) => aggregateId,
    )
  const count = () => [...firsts().values()].reduce((sum, { length }) => sum + length, 0)
  await until('all events', () => count() === rounds * 12)
  await until('no event that waits', async () => (await publisher.countWaiting()) === 0)

  for (const ofOne of firsts().values()) {
    const inTime = ofOne.toSorted((a, b) => (a.time < b.time ? -1 : 1)).map(({ n }) => n)
    expect(inTime).toEqual(Array.from({ length: rounds }, (_, n) => n))
  }
})
