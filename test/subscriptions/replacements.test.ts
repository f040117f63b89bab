import { expect, it } from 'vitest'
import {
  type DomainEvent,
  defineEvent,
  dropEvent,
  type EventReplacement,
  handlerFor,
  type RelayOptions,
  replaceEvent,
  type SubscriptionManagerOptions,
} from '../../src/index.ts'
import { noted, quick, SubscriptionScene } from './subscription-scene.ts'

class Settled extends defineEvent<{ readonly total: number; readonly method: string }>()({
  type: 'Settled',
  aggregateType: 'Order',
}) {}

class Placed extends defineEvent<{ readonly total: number }>()({ type: 'Placed', aggregateType: 'Order' }) {}

class Paid extends defineEvent<{ readonly method: string }>()({ type: 'Paid', aggregateType: 'Order' }) {}

class Viewed extends defineEvent<{ readonly by: string }>()({ type: 'Viewed', aggregateType: 'Order' }) {}

const replacements: readonly EventReplacement[] = [
  replaceEvent(Settled, [Placed, Paid], ({ total, method }, create) => [
    create(Placed, { total }),
    create(Paid, { method }),
  ]),
  dropEvent(Viewed),
]

const settled = (total: number, aggregateId = 'a') =>
  new Settled({ aggregateId, total, method: 'card', tenantId: 'acme', metadata: { from: 'web' } })

/** A store with these events, and a manager that replaces some of them. */
async function setUp(events: readonly DomainEvent[], options: Partial<SubscriptionManagerOptions> = {}) {
  const scene = new SubscriptionScene()
  for (const event of events) {
    const { aggregateId, aggregateType } = event
    await scene.store.appendEvents({ aggregateId, aggregateType, events: [event], expectedVersion: 'any' })
  }
  return { scene, manager: scene.manager({ replacements, ...options }) }
}

const shown = (event: DomainEvent) => {
  if (event instanceof Placed) return `placed ${event.total}`
  return event instanceof Paid ? `paid by ${event.method}` : event.eventType
}

it('hands each handler the events that replace an event, in order, with its envelope', async () => {
  const original = settled(42)
  const { manager } = await setUp([original, new Placed({ aggregateId: 'b', total: 1 })])
  const all: DomainEvent[] = []
  const paid: DomainEvent[] = []
  manager.subscribe({ name: 'all', handle: (event) => void all.push(event) }, quick)
  manager.subscribe({ name: 'paid', handlers: [handlerFor(Paid, (event) => void paid.push(event))] }, quick)
  manager.start()
  await manager.whenCaughtUp('all')
  await manager.whenCaughtUp('paid')

  expect(all.map(shown)).toEqual(['placed 42', 'paid by card', 'placed 1'])
  expect(paid.map(shown)).toEqual(['paid by card'])
  const { eventId, aggregateId, tenantId, metadata, correlationId, occurredAt } = original
  expect(all.slice(0, 2).map((event) => event.eventId)).toEqual([`${eventId}/1`, `${eventId}/2`])
  for (const event of all.slice(0, 2)) {
    expect(event).toMatchObject({ aggregateId, tenantId, metadata, correlationId, occurredAt })
  }
})

it('leaves out an event that is dropped, and passes its position', async () => {
  const { manager, scene } = await setUp([
    new Viewed({ aggregateId: 'a', by: 'x' }),
    noted(1),
    new Viewed({ aggregateId: 'a', by: 'y' }),
  ])
  const all: DomainEvent[] = []
  manager.subscribe({ name: 'all', handle: (event) => void all.push(event) }, quick)
  manager.start()
  await manager.whenCaughtUp('all')
  await manager.stop()

  expect(all.map(shown)).toEqual(['Noted'])
  expect((await scene.checkpoints.load('all'))?.position).toBe(3)
})

it('moves the position only when all events of a replaced one are handled', async () => {
  const { manager, scene } = await setUp([settled(1), settled(2, 'b')])
  const handled: string[] = []
  const handle = (event: DomainEvent) => {
    if (event instanceof Paid) throw new Error('no')
    handled.push(shown(event))
  }
  manager.subscribe({ name: 'all', handle }, { ...quick, maxRetries: 1, checkpointEveryEvents: 1 })
  manager.start()

  await expect(manager.whenCaughtUp('all')).rejects.toThrow('no')
  expect(handled).toEqual(['placed 1', 'placed 1'])
  expect((await scene.checkpoints.load('all'))?.position ?? 0).toBe(0)
})

it('parks the stored event, and replays the events that replace it', async () => {
  const { manager, scene } = await setUp([settled(1)])
  const handled: string[] = []
  let isWell = false
  const pay = (event: Paid) => {
    if (!isWell) throw new Error('no')
    handled.push(shown(event))
  }
  const handlers = [
    handlerFor(Placed, (event) => void handled.push(shown(event)), { name: 'place' }),
    handlerFor(Paid, pay, { name: 'pay' }),
  ]
  manager.subscribe({ name: 'all', handlers }, { ...quick, maxRetries: 0, onFailure: 'deadLetter' })
  manager.start()
  await manager.whenCaughtUp('all')

  const [parked] = await scene.deadLetters.list()
  expect([parked?.event.eventType, parked?.handlerNames]).toEqual(['Settled', ['pay']])
  isWell = true
  expect(await manager.replayParked('all')).toEqual({ replayed: 1, failed: [] })
  expect(handled).toEqual(['placed 1', 'paid by card'])
})

it('parks an event whose replacement fails, and goes on', async () => {
  const wrong = replaceEvent(Settled, [Placed], ({ total }, create) => {
    if (total < 0) throw new Error('a total below 0')
    return [create(Placed, { total })]
  })
  const { manager, scene } = await setUp([settled(-1), settled(2, 'b')], { replacements: [wrong] })
  const all: DomainEvent[] = []
  const projection = { name: 'all', handle: (event: DomainEvent) => void all.push(event) }
  manager.subscribe(projection, { ...quick, maxRetries: 0, onFailure: 'deadLetter' })
  manager.start()
  await manager.whenCaughtUp('all')

  expect(all.map(shown)).toEqual(['placed 2'])
  expect((await scene.deadLetters.list()).map(({ errorMessage }) => errorMessage)).toEqual([
    'a total below 0',
  ])
})

it('keeps the id of an event that one event replaces', async () => {
  const original = settled(42)
  const one = replaceEvent(Settled, [Placed], ({ total }, create) => [create(Placed, { total })])
  const { manager } = await setUp([original], { replacements: [one] })
  const all: DomainEvent[] = []
  manager.subscribe({ name: 'all', handle: (event) => void all.push(event) }, quick)
  manager.start()
  await manager.whenCaughtUp('all')

  expect(all.map(({ eventId, eventType }) => [eventId, eventType])).toEqual([[original.eventId, 'Placed']])
})

it('replaces in batches, in lanes, in a relay, in a rebuild and within a limit to some classes', async () => {
  const { manager } = await setUp([settled(1), new Viewed({ aggregateId: 'a', by: 'x' }), settled(2, 'b')])
  const seen: Record<string, string[]> = { batch: [], lanes: [], relay: [], limited: [], rebuilt: [] }
  const into = (name: string) => (events: readonly DomainEvent[]) =>
    void seen[name]?.push(...events.map(shown))
  const one = (name: string) => (event: DomainEvent) => into(name)([event])
  manager.subscribe({ name: 'batch', handleBatch: into('batch') }, quick)
  manager.subscribe({ name: 'lanes', handle: one('lanes') }, { ...quick, concurrency: 4 })
  const relayed: RelayOptions = { ...quick, name: 'relay' }
  manager.relay({ publish: async (events) => into('relay')(events) }, relayed)
  manager.subscribe({ name: 'limited', handle: one('limited') }, { ...quick, eventClasses: [Paid] })
  manager.subscribe({ name: 'rebuilt', handle: () => undefined }, quick)
  manager.start()
  for (const name of Object.keys(seen)) await manager.whenCaughtUp(name)
  await manager.rebuild('rebuilt', { into: { handle: one('rebuilt') } })

  const all = ['placed 1', 'paid by card', 'placed 2', 'paid by card']
  expect(seen).toEqual({
    ...{ batch: all, relay: all, rebuilt: all },
    lanes: expect.arrayContaining(all),
    limited: ['paid by card', 'paid by card'],
  })
})

it('refuses a subscription to an event that is replaced', async () => {
  const { manager } = await setUp([])
  const handlers = [handlerFor(Settled, () => undefined)]

  expect(() => manager.subscribe({ name: 'old', handlers })).toThrow(
    /no event of type Settled reaches it, because Placed, Paid replaces it/,
  )
})

it('refuses what is no replacement, two of one class, and a class of another aggregate', async () => {
  const [one] = replacements

  await expect(setUp([], { replacements: [{} as EventReplacement] })).rejects.toThrow(/replacements must be/)
  await expect(setUp([], { replacements: [one, one] as EventReplacement[] })).rejects.toThrow(/at most one/)
  class Other extends defineEvent<{ n: number }>()({ type: 'Other', aggregateType: 'Else' }) {}
  expect(() => replaceEvent(Settled, [Other], () => [])).toThrow(/Other must belong to Order/)
})
