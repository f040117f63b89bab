import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { expect, it } from 'vitest'
import { InMemoryEventStore, type SubscriptionProgress } from '../../src/index.ts'
import { waitFor } from '../support/wait-for.ts'
import { append, type Noted, quick, Seen, SubscriptionScene } from './subscription-scene.ts'

it('reports position, head, lag in positions and time, and the rate of handled events', async () => {
  const anHourAgo = () => new Date(Date.now() - 3_600_000)
  const scene = new SubscriptionScene(new InMemoryEventStore({ now: anHourAgo }))
  await append(scene.store, 0, 10)
  const gate = Promise.withResolvers<void>()
  const handle = ({ n }: Noted) => (n === 4 ? gate.promise : undefined)
  const manager = scene.manager()
  manager.subscribe({ name: 'slow', handle }, { checkpointEveryEvents: 2 })
  expect((await manager.status())['slow']).toMatchObject({ state: 'stopped', position: 0, lagPositions: 10 })
  manager.start()
  await waitFor(async () => (await manager.status())['slow']?.position === 4)

  const status = (await manager.status())['slow']
  expect(status).toMatchObject({
    state: 'catchingUp',
    head: 10,
    lagPositions: 6,
    eventsHandled: 4,
    checkpoint: 4,
  })
  expect(status?.lagMs).toBeGreaterThanOrEqual(3_600_000)
  expect(status?.lagMs).toBeLessThan(3_660_000)
  expect(status?.eventsPerSecond).toBeGreaterThan(0)
  expect(await manager.health()).toMatchObject({
    status: 'degraded',
    subscriptions: { slow: { status: 'degraded', problems: ['catching up'] } },
  })

  gate.resolve()
  await manager.whenCaughtUp('slow')
  expect((await manager.status())['slow']).toMatchObject({ state: 'live', lagPositions: 0, lagMs: 0 })
  expect(await manager.health()).toMatchObject({ status: 'up', subscriptions: { slow: { status: 'up' } } })
})

it('is degraded while an event is retried, and up after it has succeeded', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 1)
  let isFailing = true
  const handle = () => {
    if (isFailing) throw new Error('as told')
  }
  const manager = scene.manager()
  manager.subscribe({ name: 'flaky', handle }, { ...quick, maxRetries: Number.POSITIVE_INFINITY })
  manager.start()
  await waitFor(async () => (await manager.status())['flaky']?.retrying === 1)
  expect((await manager.health()).subscriptions['flaky']?.problems).toContain('retrying 1 event')

  isFailing = false
  await manager.whenCaughtUp('flaky')
  await waitFor(async () => (await manager.health()).status === 'up')
})

it('is down before the start and after the stop, and up with nothing subscribed', async () => {
  const manager = new SubscriptionScene().manager()
  expect(await manager.health()).toEqual({
    status: 'up',
    eventStore: { status: 'up', problems: [], heldBack: undefined },
    subscriptions: {},
  })
  manager.subscribe(new Seen())
  expect(await manager.health()).toMatchObject({ status: 'down' })
  manager.start()
  await waitFor(async () => (await manager.health()).status === 'up')
  await manager.stop()
  expect(await manager.health()).toMatchObject({
    status: 'down',
    subscriptions: { seen: { problems: ['not running'] } },
  })
})

it('reports progress, and the end of the catch-up', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 1000)
  const reports: SubscriptionProgress[] = []
  const manager = scene.manager()
  const onProgress = (progress: SubscriptionProgress) => void reports.push(progress)
  manager.subscribe(new Seen(), { batchSize: 100, progressIntervalMs: 0, onProgress })
  manager.start()
  await manager.whenCaughtUp('seen')
  await waitFor(() => reports.at(-1)?.isCaughtUp)

  expect(reports.map(({ position }) => position).slice(0, 3)).toEqual([100, 200, 300])
  expect(reports.at(-1)).toMatchObject({ name: 'seen', position: 1000, head: 1000, eventsHandled: 1000 })
})

it('reports no more often than configured, except for the end of the catch-up', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 1000)
  const reports: SubscriptionProgress[] = []
  const manager = scene.manager()
  const onProgress = (progress: SubscriptionProgress) => {
    reports.push(progress)
    throw new Error('as told')
  }
  manager.subscribe(new Seen(), { batchSize: 100, progressIntervalMs: 60_000, onProgress })
  manager.start()
  await waitFor(() => reports.length === 2)

  expect(reports.map(({ position }) => position)).toEqual([100, 1000])
  expect(scene.messages('error')).toEqual(['onProgress failed', 'onProgress failed'])
})

it('opens a span for each attempt, with the handlers in it, unless tracing is off', async () => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 1)
  const tracer = provider.getTracer('test')
  const traced = scene.manager({ tracer })
  traced.subscribe(new Seen('traced'))
  traced.start()
  await traced.whenCaughtUp('traced')
  const names = () => exporter.getFinishedSpans().map(({ name }) => name)
  expect(names().toSorted()).toEqual(['handle traced', 'traced.process Noted'])
  expect(exporter.getFinishedSpans().find(({ name }) => name.startsWith('traced'))?.attributes).toMatchObject(
    {
      'eventspine.position': 1,
      'eventspine.event.type': 'Noted',
      'messaging.consumer.group.name': 'traced',
    },
  )

  const untraced = scene.manager({ tracer, enableTracing: false })
  untraced.subscribe(new Seen('untraced'))
  untraced.start()
  await untraced.whenCaughtUp('untraced')
  expect(names()).toHaveLength(2)
})
