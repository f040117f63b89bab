import { expect, it } from 'vitest'
import {
  DiscardError,
  type HandlerContext,
  handlerFor,
  InMemorySubscriptionDeadLetterStore,
  NonRetryableError,
} from '../../src/index.ts'
import { waitFor } from '../support/wait-for.ts'
import { append, Noted, numbers, quick, SubscriptionScene } from './subscription-scene.ts'

it('gives each handler of a subscription its own attempts, and parks the event for those that were given up', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 1)
  const deadLetters = new InMemorySubscriptionDeadLetterStore()
  const manager = scene.manager({ deadLetters })
  const calls: [string, number][] = []
  const failing =
    (name: string, error: Error) =>
    (_event: Noted, { attempt }: HandlerContext) => {
      calls.push([name, attempt])
      throw error
    }
  const handlers = [
    handlerFor(Noted, failing('twice', new Error('planned')), { name: 'twice', maxRetries: 1 }),
    handlerFor(Noted, failing('thrice', new Error('planned')), { name: 'thrice', retryDelaysMs: [1, 5] }),
    handlerFor(Noted, failing('rejects', new NonRetryableError('planned')), { name: 'rejects' }),
    handlerFor(Noted, failing('discards', new DiscardError('planned')), { name: 'discards' }),
  ]
  manager.subscribe({ name: 'many', handlers }, { ...quick, onFailure: 'deadLetter' })
  manager.start()
  await manager.whenCaughtUp('many')

  const attempts = (name: string) => calls.filter(([caller]) => caller === name).map(([, attempt]) => attempt)
  expect(['twice', 'thrice', 'rejects', 'discards'].map(attempts)).toEqual([[1, 2], [1, 2, 3], [1], [1]])
  const [parked] = await deadLetters.list()
  expect(parked?.handlerNames.toSorted()).toEqual(['rejects', 'thrice', 'twice'])
  const { subscriptions } = await manager.health()
  expect(subscriptions['many']).toMatchObject({ eventsDiscarded: 1, eventsDeadLettered: 1 })
})

it('applies retryIf and discardIf of the subscription', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 2)
  const deadLetters = new InMemorySubscriptionDeadLetterStore()
  const manager = scene.manager({ deadLetters })
  const calls: number[] = []
  const handle = ({ n }: Noted) => {
    calls.push(n)
    throw n === 0 ? new RangeError('planned') : new TypeError('planned')
  }
  manager.subscribe(
    { name: 'picky', handle, subscribedTo: () => [Noted] },
    {
      ...quick,
      onFailure: 'deadLetter',
      retryIf: (error) => !(error instanceof RangeError),
      discardIf: (error) => error instanceof TypeError,
    },
  )
  manager.start()
  await manager.whenCaughtUp('picky')

  expect(calls).toEqual([0, 1])
  expect((await deadLetters.list()).map(({ attempts, errorName }) => [attempts, errorName])).toEqual([
    [1, 'RangeError'],
  ])
})

it('pauses a handler of a subscription during an outage, shows it, and parks none of its events', async () => {
  const scene = new SubscriptionScene()
  const manager = scene.manager()
  let isDown = true
  let runs = 0
  const handled: number[] = []
  const call = ({ n }: Noted) => {
    runs += 1
    if (isDown) throw new RangeError('the database does not answer')
    handled.push(n)
  }
  const outageGuard = { failures: 3, probeDelayMs: 5, maxProbeDelayMs: 20 }
  const handlers = [handlerFor(Noted, call, { name: 'guarded', maxRetries: 1, outageGuard })]
  manager.subscribe({ name: 'many', handlers }, { ...quick, concurrency: 10, onFailure: 'deadLetter' })
  manager.start()
  await append(scene.store, 0, 10)
  const paused = 'handler paused, its events fail for the same reason'
  await waitFor(() => scene.messages('error').includes(paused))

  const { subscriptions } = await manager.health()
  expect(subscriptions['many']?.problems).toContain('handler guarded paused')
  // More runs than all events have attempts: those of the outage do not count.
  const before = runs
  await waitFor(() => runs > before + 21)
  isDown = false
  await manager.whenCaughtUp('many')

  expect(handled.toSorted((a, b) => a - b)).toEqual(numbers(0, 10))
  expect(await scene.deadLetters.list()).toEqual([])
  expect(scene.messages('warn').filter((message) => message === 'handler resumed')).toHaveLength(1)
  const { subscriptions: after } = await manager.health()
  expect(after['many']?.problems).toEqual([])
})

it('refuses long waits and parking, because a checkpoint cannot leave one event behind', () => {
  const manager = new SubscriptionScene().manager()
  const longWaits = { order: 'giveUp' } as const
  const waits = [handlerFor(Noted, () => undefined, { name: 'waits', longWaits })]
  const parks = [handlerFor(Noted, () => undefined, { name: 'parks', onDeadLetter: 'park' })]

  expect(() => manager.subscribe({ name: 'many', handlers: waits })).toThrow(
    'a subscription to a store cannot continue behind a waiting event',
  )
  expect(() => manager.subscribe({ name: 'many', handlers: parks })).toThrow(
    'a subscription to a store cannot keep the later events of one aggregate',
  )
})
