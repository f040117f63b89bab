// npm run bench:peers [-- --json]: compares the buses with other libraries that do the same work.
import { InMemoryEventBus } from 'eventspine'
import type { BrokerKind } from '../test/brokers/broker.ts'
import { sized } from './arguments.ts'
import type { BrokerBench } from './broker-bench.ts'
import { brokerBench } from './brokers/index.ts'
import { startBroker } from './brokers/start.ts'
import { type BenchRow, compare, runSteps, type Step } from './harness.ts'
import { versionOf } from './machine.ts'
import { OrderCreated, orderEvents } from './order.ts'
import { type BothEnds, bothEndsStep } from './peers/both-ends.ts'
import { throughBullMq } from './peers/bullmq.ts'
import { throughNestOnKafka, throughNestOnRabbitMq } from './peers/nest.ts'
import { environmentOf, PythonPeer, pythonVersionOf } from './peers/python.ts'
import { report } from './results.ts'
import { inBatches } from './works/publish.ts'

const EVENTSOURCE = 'eventsource-py'
const FASTSTREAM = 'FastStream'
/** The number of events that each moves in about one second. FastStream on Kafka commits one by one, so it consumes fewer. */
const eventsourceCounts = { memory: 10_000, redis: 2000, rabbitmq: 2000, kafka: 200 }
const fastStreamCounts = { count: 2000, consumed: { redis: 2000, rabbitmq: 2000, kafka: 150 } }

const eventsource = await environmentOf({
  name: EVENTSOURCE,
  // eventsource-py imports SQLAlchemy, which needs greenlet but does not declare it.
  requirements: ['eventsource-py[redis,rabbitmq,kafka]==0.4.*', 'greenlet'],
})
const fastStream = await environmentOf({
  name: FASTSTREAM,
  requirements: ['faststream[redis,rabbit,kafka]==0.7.*'],
})
const rows: BenchRow[] = []
const versions: Record<string, string> = {
  BullMQ: versionOf('bullmq'),
  'NestJS microservices': versionOf('@nestjs/microservices'),
}
if (fastStream !== undefined) versions[FASTSTREAM] = await pythonVersionOf(fastStream, 'faststream')
if (eventsource !== undefined) {
  versions[EVENTSOURCE] = await pythonVersionOf(eventsource, EVENTSOURCE)
  await using peer = new PythonPeer(eventsource, 'eventsource_peer.py', ['memory'])
  rows.push(...(await runSteps('memory', [memoryStep(peer)])))
}
for (const kind of ['redis', 'rabbitmq', 'kafka'] as const) rows.push(...(await compareOn(kind)))
report('peers', rows, versions)

async function compareOn(kind: BrokerKind): Promise<readonly BenchRow[]> {
  await using stack = new AsyncDisposableStack()
  const { url } = stack.use(await startBroker(kind))
  const bench = stack.use(await brokerBench(kind, url))
  Object.assign(versions, bench.versions)
  const inPython = (name: string, python: string | undefined, program: string, question: object) => {
    if (python === undefined) return []
    const peer = stack.use(new PythonPeer(python, program, [kind, url]))
    const step = bothEndsStep(bench, name, async () => {
      await using scene = await bench.scene()
      return await peer.ask<BothEnds>({ ...question, name: scene.name })
    })
    return [step]
  }
  return await runSteps(kind, [
    ...inPython(EVENTSOURCE, eventsource, 'eventsource_peer.py', {
      count: atLeast20(eventsourceCounts[kind]),
    }),
    ...inPython(FASTSTREAM, fastStream, 'faststream_peer.py', {
      count: atLeast20(fastStreamCounts.count),
      consumed: atLeast20(fastStreamCounts.consumed[kind]),
    }),
    jsPeer(bench, kind, url),
  ])
}

/** Measuring a rate needs some events, even in a quick run. */
function atLeast20(count: number): number {
  return Math.max(20, sized(count))
}

function jsPeer(bench: BrokerBench, kind: BrokerKind, url: string): Step {
  switch (kind) {
    case 'redis':
      return bothEndsStep(bench, 'BullMQ', () => throughBullMq(url))
    case 'rabbitmq':
      return bothEndsStep(bench, 'NestJS', () => throughNestOnRabbitMq(url))
    case 'kafka':
      return bothEndsStep(bench, 'NestJS', async () => {
        await using scene = await bench.scene()
        return await throughNestOnKafka(url, scene)
      })
  }
}

function memoryStep(peer: PythonPeer): Step {
  const bus = new InMemoryEventBus()
  bus.subscribe(OrderCreated, async () => undefined)
  const events = orderEvents(sized(200_000))
  return compare({
    work: '1 async handler, batches of 1,000',
    unit: 'events/s',
    peer: EVENTSOURCE,
    ours: () => inBatches(events, 1000, bus),
    raw: async () => (await peer.ask<BothEnds>({ count: eventsourceCounts.memory })).publish,
  })
}
