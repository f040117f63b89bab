import { AggregationTemporality } from '@opentelemetry/sdk-metrics'
import { expect, it } from 'vitest'
import { handlerFor, InMemoryStores, observeSubscriptions, SubscriptionManager } from '../../src/index.ts'
import { createMeterProvider, startMetrics } from '../support/metrics.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { waitFor } from '../support/wait-for.ts'
import { append, Noted, quick, Seen, SubscriptionScene } from './subscription-scene.ts'

type Read = ReturnType<typeof startMetrics>

const PREFIX = 'eventspine.subscription.'

/** The values of the instruments of a subscription, by the end of their names, and its state. */
async function valuesOf(read: Read, name: string) {
  const found = await read()
  const values: Record<string, unknown> = {}
  for (const [metric, { points }] of found) {
    for (const { attributes, value } of points) {
      if (Reflect.get(attributes, `${PREFIX}name`) !== name) continue
      const state = Reflect.get(attributes, `${PREFIX}state`)
      if (state === undefined) values[metric.replace(PREFIX, '')] = value
      else if (value === 1) values['state'] = state
    }
  }
  return values
}

it('reports position, lag, state and counts of each subscription', async () => {
  const read = startMetrics()
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 4)
  const manager = scene.manager()
  const failing = handlerFor(Noted, ({ n }) => {
    if (n === 2) throw new Error('planned')
  })
  manager.subscribe(
    { name: 'orders', handlers: [failing] },
    { ...quick, maxRetries: 1, onFailure: 'deadLetter' },
  )
  manager.start()
  await manager.whenCaughtUp('orders')

  expect(await valuesOf(read, 'orders')).toEqual({
    ...{ state: 'live', position: 4, lag: 0, oldest_unfinished: 0 },
    ...{ handled: 3, dead_lettered: 1, parked: 1, discarded: 0, handler_errors: 2, retries_waiting: 0 },
    rebuild_progress: 1,
  })
  const units = Object.fromEntries([...(await read())].map(([name, { unit }]) => [name, unit]))
  expect(units).toMatchObject({
    [`${PREFIX}lag`]: '{position}',
    [`${PREFIX}oldest_unfinished`]: 's',
    [`${PREFIX}handled`]: '{event}',
    [`${PREFIX}state`]: '1',
  })

  await manager.pause('orders')
  await append(scene.store, 4, 10)
  await waitFor(async () => Number((await valuesOf(read, 'orders'))['oldest_unfinished']) > 0)
  expect(await valuesOf(read, 'orders')).toMatchObject({ state: 'paused', position: 4, lag: 6 })
  manager.resume('orders')
  await manager.whenCaughtUp('orders')
  expect(await valuesOf(read, 'orders')).toMatchObject({ state: 'live', lag: 0, handled: 9 })

  await manager.stop()
  expect(await valuesOf(read, 'orders')).toMatchObject({ state: 'stopped', position: 10 })
})

it('reports a failed subscription, and events that wait for a retry', async () => {
  const read = startMetrics()
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 1)
  const manager = scene.manager()
  let isFixed = false
  const fails = () => {
    if (!isFixed) throw new Error('planned')
  }
  manager.subscribe({ name: 'stops', handle: fails }, { ...quick, maxRetries: 0 })
  manager.subscribe({ name: 'retries', handle: fails }, { ...quick, maxRetries: 1_000_000 })
  manager.start()

  await waitFor(async () => (await valuesOf(read, 'stops'))['state'] === 'failed')
  await waitFor(async () => (await valuesOf(read, 'retries'))['retries_waiting'] === 1)
  isFixed = true
  await manager.whenCaughtUp('retries')
})

it('reports how far a rebuild is', async () => {
  const read = startMetrics()
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 10)
  const manager = scene.manager()
  manager.subscribe(new Seen(), quick)
  manager.start()
  await manager.whenCaughtUp('seen')
  const gate = Promise.withResolvers<void>()
  const fresh = {
    name: 'seen',
    handle: ({ n }: Noted) => (n === 5 ? gate.promise : undefined),
    reset: () => undefined,
  }

  const rebuilt = manager.rebuild('seen', { into: fresh })
  await waitFor(async () => (await valuesOf(read, 'seen'))['rebuild_progress'] === 0.5)
  gate.resolve()
  await rebuilt
  expect(await valuesOf(read, 'seen')).toMatchObject({ rebuild_progress: 1 })
})

it('takes the meter of the options, finds an SDK that is registered later, and can be switched off', async () => {
  const { provider, read } = createMeterProvider()
  const scene = new SubscriptionScene()
  const given = scene.manager({ meter: provider.getMeter('own') })
  const off = scene.manager({ enableMetrics: false })
  const late = scene.manager()
  for (const [manager, name] of [
    [given, 'given'],
    [off, 'off'],
    [late, 'late'],
  ] as const) {
    manager.subscribe(new Seen(name), quick)
    manager.start()
  }
  expect(await valuesOf(read, 'given')).toMatchObject({ position: 0 })

  const readGlobal = startMetrics()
  await append(scene.store, 0, 1)
  await late.whenCaughtUp('late')
  expect(await valuesOf(readGlobal, 'late')).toMatchObject({ position: 1 })
  expect(await valuesOf(readGlobal, 'off')).toEqual({})
})

it('reports the subscriptions of stores that no process runs', async () => {
  const { provider, read } = createMeterProvider(AggregationTemporality.DELTA)
  await using stores = new InMemoryStores()
  await append(stores.events, 0, 3)
  const { events: eventStore, checkpoints, deadLetters } = stores
  const manager = new SubscriptionManager({
    eventStore,
    checkpoints,
    deadLetters,
    enableMetrics: false,
    logger: new RecordingLogger(),
  })
  const fails = () => {
    throw new Error('planned')
  }
  manager.subscribe({ name: 'orders', handle: fails }, { ...quick, maxRetries: 0, onFailure: 'deadLetter' })
  manager.start()
  await manager.whenCaughtUp('orders')
  await manager.stop()
  await append(stores.events, 3, 5)

  const end = observeSubscriptions(stores, { meter: provider.getMeter('own') })
  const age = expect.any(Number)
  expect(await valuesOf(read, 'orders')).toEqual({ position: 3, lag: 2, oldest_unfinished: age, parked: 3 })
  end()
  expect(await valuesOf(read, 'orders')).toEqual({})
  // @ts-expect-error a misspelt option
  expect(() => observeSubscriptions(stores, { metre: 1 })).toThrow(/metre/)
})
