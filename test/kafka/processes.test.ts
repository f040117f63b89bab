import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, inject, it, onTestFinished } from 'vitest'
import type { KafkaEventBusOptions } from '../../src/kafka/index.ts'
import { orderCreated } from '../support/order-events.ts'
import { createBus, freshName, until } from './scene.ts'
import type { WorkerOptions } from './worker.ts'

const EVENTS = 20_000
const AGGREGATES = 200
const MAX_IN_FLIGHT = 500
const SESSION_MS = 6000

interface Worker {
  readonly process: ChildProcess
  /** `aggregateId eventId` of each event whose handling began, in order. */
  readonly begun: string[]
}

function startWorker(bus: KafkaEventBusOptions, more: Omit<WorkerOptions, 'bus'> = {}): Worker {
  const options: WorkerOptions = {
    bus: {
      bootstrapServers: inject('kafkaBootstrapServers'),
      consumerGroup: bus.topicPrefix ?? 'default',
      sessionTimeoutMs: SESSION_MS,
      heartbeatIntervalMs: 200,
      maxInFlight: MAX_IN_FLIGHT,
      ...bus,
    },
    ...more,
  }
  const script = fileURLToPath(new URL('./worker.ts', import.meta.url))
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const begun: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => begun.push(line))
  return { process: child, begun }
}

async function end({ process: child }: Worker): Promise<void> {
  child.kill('SIGTERM')
  await once(child, 'exit')
  expect(child.exitCode).toBe(0)
}

/** Publishes events of many aggregates. @returns the lines that workers write for them, in order. */
function publishAll(topicPrefix: string): { readonly lines: string[]; readonly done: Promise<void> } {
  const publisher = createBus({ topicPrefix })
  const events = Array.from({ length: EVENTS }, (_, n) => orderCreated(`Order-${n % AGGREGATES}`))
  const lines = events.map(({ aggregateId, eventId }) => `${aggregateId} ${eventId}`)
  const publish = async () => {
    for (let start = 0; start < EVENTS; start += 500)
      await publisher.publish(events.slice(start, start + 500))
  }
  return { lines, done: publish() }
}

/** Publishes until each worker has a part of the partitions. */
async function untilAllWork(topicPrefix: string, workers: readonly Worker[], name = 'Warm'): Promise<void> {
  const publisher = createBus({ topicPrefix })
  const before = workers.map(({ begun }) => begun.length)
  let n = 0
  await until(
    'all workers to work',
    async () => {
      n += 5
      await publisher.publish(Array.from({ length: 5 }, (_, index) => orderCreated(`${name}-${n + index}`)))
      return workers.every(({ begun }, index) =>
        begun.slice(before[index]).some((line) => line.startsWith(name)),
      )
    },
    30_000,
  )
}

/** The events of the test itself that were begun, each once. */
function unionOf(...workers: readonly Worker[]): ReadonlySet<string> {
  return new Set(workers.flatMap(({ begun }) => begun.filter((line) => line.startsWith('Order'))))
}

/** An event handled again by the same consumer would be out of order there. */
function expectOrder({ begun }: Worker, lines: readonly string[]): void {
  const place = new Map(lines.map((line, index) => [line, index]))
  for (const ofAggregate of Map.groupBy(begun, (line) => line.slice(0, line.indexOf(' '))).values()) {
    const places = ofAggregate.map((line) => place.get(line) ?? -1)
    expect(places).toEqual(places.toSorted((a, b) => a - b))
  }
}

it('loses nothing when one of two workers is killed in the middle of 20,000 events', async () => {
  const topicPrefix = freshName()
  const [victim, survivor] = [startWorker({ topicPrefix }), startWorker({ topicPrefix })]
  await untilAllWork(topicPrefix, [victim, survivor])
  const { lines, done } = publishAll(topicPrefix)
  await until('the victim to be amid its work', () => unionOf(victim).size > 1000)

  victim.process.kill('SIGKILL')

  await Promise.all([done, once(victim.process, 'exit')])
  const union = () => unionOf(victim, survivor).size
  await until(
    () => `all events, saw ${union()}`,
    () => union() === EVENTS,
    30_000,
  )
  await end(survivor)
  const runs = [victim, survivor].flatMap(({ begun }) => begun.filter((line) => line.startsWith('Order')))
  expect(runs.length - EVENTS).toBeLessThanOrEqual(MAX_IN_FLIGHT)
  expect(new Set(survivor.begun).size).toBe(survivor.begun.length)
  for (const worker of [victim, survivor]) expectOrder(worker, lines)
})

it('starts no event in a worker that was frozen beyond its session if another worker has it by then', async () => {
  const topicPrefix = freshName()
  const [frozen, other] = [startWorker({ topicPrefix }), startWorker({ topicPrefix })]
  await untilAllWork(topicPrefix, [frozen, other])
  const { lines, done } = publishAll(topicPrefix)
  await until('the worker to be amid its work', () => unionOf(frozen).size > 1000)

  frozen.process.kill('SIGSTOP')
  await done
  const union = () => unionOf(frozen, other).size
  await until(
    () => `all events, saw ${union()}`,
    () => union() === EVENTS,
    30_000,
  )
  const before = unionOf(frozen).size
  frozen.process.kill('SIGCONT')
  await untilAllWork(topicPrefix, [frozen, other], 'Late')

  // The very event that it was about to hand to its handler when it was stopped.
  expect(unionOf(frozen).size - before).toBeLessThanOrEqual(1)
  for (const worker of [frozen, other]) expectOrder(worker, lines)
  await Promise.all([end(frozen), end(other)])
})

it('continues with a worker that blocked its event loop beyond its session', async () => {
  const topicPrefix = freshName()
  const blocked = startWorker({ topicPrefix }, { blockAt: 'Order-7', blockMs: SESSION_MS + 1500 })
  await untilAllWork(topicPrefix, [blocked])
  const publisher = createBus({ topicPrefix })
  await publisher.publish(Array.from({ length: 20 }, (_, n) => orderCreated(`Order-${n}`)))
  const blocking = () => blocked.begun.some((line) => line.startsWith('Order-7 '))
  await until('the worker to be blocked', blocking)
  const other = startWorker({ topicPrefix })

  const union = () => unionOf(blocked, other).size
  await until(
    () => `all events, saw ${union()}`,
    () => union() === 20,
    30_000,
  )
  await untilAllWork(topicPrefix, [blocked, other], 'Late')

  const runs = [...blocked.begun, ...other.begun].filter((line) => line.startsWith('Order-7 '))
  expect(runs.length).toBeLessThanOrEqual(2)
  await Promise.all([end(blocked), end(other)])
})
