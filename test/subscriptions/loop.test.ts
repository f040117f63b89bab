import { describe, expect, it } from 'vitest'
import {
  AsyncEventHandler,
  ConfigError,
  type EventStore,
  handlerFor,
  InMemoryEventBus,
  InMemoryEventStore,
  type ReadAllOptions,
  SubscriptionManager,
} from '../../src/index.ts'
import { waitFor } from '../support/wait-for.ts'
import {
  append,
  appendOne,
  checkpointAt,
  Filed,
  fill,
  Noted,
  noted,
  numbers,
  quick,
  Seen,
  SubscriptionScene,
} from './subscription-scene.ts'

describe('where it begins', () => {
  it('handles stored events in order, and continues with new ones', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 1000)
    const manager = scene.manager()
    const seen = new Seen()
    manager.subscribe(seen)
    manager.start()
    await manager.whenCaughtUp('seen')
    expect(seen.numbers).toEqual(numbers(0, 1000))

    await append(scene.store, 1000, 1010)
    await manager.whenCaughtUp('seen')
    expect(seen.numbers).toEqual(numbers(0, 1010))
  })

  it.each([
    [{}, 0],
    [{ startFrom: 'beginning' }, 0],
    [{ startFrom: 'end' }, 10],
    [{ startFrom: 4 }, 4],
    [{ startFrom: new Date(1006) }, 6],
    [{ startFrom: new Date(0) }, 0],
    [{ startNewFrom: 'end' }, 10],
    [{ startNewFrom: 4 }, 4],
  ] as const)('starts at the configured place without a checkpoint: %o', async (options, first) => {
    let time = 1000
    const scene = new SubscriptionScene(new InMemoryEventStore({ now: () => new Date(time++) }))
    await append(scene.store, 0, 10)
    const manager = scene.manager()
    const seen = new Seen()
    manager.subscribe(seen, options)
    manager.start()
    await waitFor(async () => (await manager.health()).status === 'up')

    await append(scene.store, 10, 12)
    await manager.whenCaughtUp('seen')
    expect(seen.numbers).toEqual(numbers(first, 12))
  })

  it.each([
    [{}, 5],
    [{ startFrom: 'checkpoint', startNewFrom: 'end' }, 5],
    [{ startFrom: 'beginning' }, 0],
    [{ startFrom: 2 }, 2],
    [{ startFrom: 'end' }, 8],
  ] as const)('starts at the configured place with a checkpoint: %o', async (options, first) => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 8)
    await scene.checkpoints.save('seen', checkpointAt(5), undefined)
    const seen = new Seen()
    const manager = scene.manager()
    manager.subscribe(seen, options)
    manager.start()
    await waitFor(async () => (await manager.health()).status === 'up')

    await append(scene.store, 8, 10)
    await manager.whenCaughtUp('seen')
    expect(seen.numbers).toEqual(numbers(first, 10))
    await waitFor(async () => (await scene.checkpoints.load('seen'))?.position === 10)
  })

  it('continues at its position when it is stopped and started again, regardless of startFrom', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 5)
    const seen = new Seen()
    const manager = scene.manager()
    manager.subscribe(seen, { startFrom: 'beginning' })
    manager.start()
    await manager.whenCaughtUp('seen')
    await manager.stop()
    await append(scene.store, 5, 8)

    manager.start()
    await manager.whenCaughtUp('seen')
    expect(seen.numbers).toEqual(numbers(0, 8))
  })

  it('refuses a checkpoint beyond the end of the store, because it belongs to another store', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 5)
    await scene.checkpoints.save('seen', checkpointAt(999), undefined)
    const manager = scene.manager()
    manager.subscribe(new Seen())
    manager.start()

    await expect(manager.whenCaughtUp('seen')).rejects.toMatchObject({ code: 'POSITION_AHEAD' })
    expect(await manager.health()).toMatchObject({ status: 'down' })
  })
})

describe('what it reads', () => {
  it('requests from the store only the events that its handlers handle and its options select', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 1)
    const asked: ReadAllOptions[] = []
    const readAll = scene.store.readAll.bind(scene.store)
    scene.store.readAll = (options) => {
      if (options !== undefined) asked.push(options)
      return readAll(options)
    }
    const manager = scene.manager()
    const handle = () => undefined
    manager.subscribe({ name: 'both', handle, subscribedTo: () => [Noted, Filed] }, { eventClasses: [Filed] })
    manager.subscribe({ name: 'kinds', handle }, { aggregateTypes: ['File'], tenantId: 'acme' })
    manager.subscribe({ name: 'classes', handle }, { eventClasses: [Noted] })
    manager.start()
    await Promise.all(['both', 'kinds', 'classes'].map((name) => manager.whenCaughtUp(name)))

    const filters = asked.map(({ eventTypes, aggregateTypes, tenantId }) => [
      eventTypes,
      aggregateTypes,
      tenantId,
    ])
    expect(filters).toContainEqual([['Filed'], undefined, undefined])
    expect(filters).toContainEqual([undefined, ['File'], 'acme'])
    expect(filters).toContainEqual([['Noted'], undefined, undefined])
  })

  it('delivers only events of the selected classes, aggregate types and tenant', async () => {
    const scene = new SubscriptionScene()
    await appendOne(scene.store, new Noted({ aggregateId: 'a', n: 1 }))
    await appendOne(scene.store, new Noted({ aggregateId: 'a', n: 2, tenantId: 'acme' }))
    await appendOne(scene.store, new Filed({ aggregateId: 'f', n: 3, tenantId: 'acme' }))
    const manager = scene.manager()
    const [files, acme] = [new Seen('files'), new Seen('acme')]
    manager.subscribe(files, { aggregateTypes: ['File'] })
    manager.subscribe(acme, { tenantId: 'acme' })
    manager.start()
    await manager.whenProcessed(3)

    expect(files.numbers).toEqual([3])
    expect(acme.numbers).toEqual([2, 3])
  })

  it('finds 3 matching events among 100,000, and reaches the head', async () => {
    const scene = new SubscriptionScene()
    for (const [start, n] of [
      [0, 1],
      [33_000, 2],
      [66_000, 3],
    ] as const) {
      await fill(scene.store, start, start + 33_332)
      await appendOne(scene.store, new Filed({ aggregateId: 'f', n }))
    }
    await append(scene.store, 0, 1)
    const manager = scene.manager()
    const seen = new Seen()
    manager.subscribe(seen, { eventClasses: [Filed] })
    manager.start()
    await manager.whenCaughtUp('seen')

    expect(seen.numbers).toEqual([1, 2, 3])
    const { position, head, lagPositions, lagMs } = (await manager.status())['seen'] ?? {}
    expect(position).toBe(100_000)
    expect({ head, lagPositions, lagMs }).toEqual({ head: 100_000, lagPositions: 0, lagMs: 0 })
  })

  it('continues after the store could not be read for a while, and reports it meanwhile', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 10)
    const headPosition = scene.store.headPosition.bind(scene.store)
    let isAway = true
    scene.store.headPosition = () => (isAway ? Promise.reject(new Error('connection reset')) : headPosition())
    const manager = scene.manager()
    const seen = new Seen()
    manager.subscribe(seen, quick)
    manager.start()
    await waitFor(async () => (await manager.health()).status === 'degraded')
    expect((await manager.status())['seen']).toMatchObject({
      head: undefined,
      lastError: { message: 'connection reset' },
    })

    isAway = false
    await manager.whenCaughtUp('seen')
    expect(seen.numbers).toEqual(numbers(0, 10))
    expect(await manager.health()).toMatchObject({ status: 'up' })
  })
})

describe('what wakes it', () => {
  /** A store whose reads come to the end, and then take their time to say so. */
  function appendingAfterTheRead(store: InMemoryEventStore, event: Noted): EventStore {
    const readAll = store.readAll.bind(store)
    let isDone = false
    store.readAll = async function* (options) {
      yield* readAll(options)
      if (isDone) return
      isDone = true
      await appendOne(store, event)
    }
    return store
  }

  it('does not miss an event that is stored while a read finds nothing', async () => {
    const scene = new SubscriptionScene()
    const manager = scene.manager({ eventStore: appendingAfterTheRead(scene.store, noted(7)) })
    const seen = new Seen()
    manager.subscribe(seen, { pollIntervalMs: 60_000 })
    manager.start()

    await waitFor(() => seen.numbers.length === 1)
    expect(seen.numbers).toEqual([7])
  })

  it('is woken by the bus, whose events are never handled themselves', async () => {
    const scene = new SubscriptionScene()
    scene.store.onAppend = () => () => undefined
    await using eventBus = new InMemoryEventBus()
    const manager = scene.manager({ eventBus })
    const seen = new Seen()
    manager.subscribe(seen, { pollIntervalMs: 60_000 })
    manager.start()
    await manager.whenCaughtUp('seen')
    await append(scene.store, 0, 3)
    await eventBus.publish([noted(99)])

    await waitFor(() => seen.numbers.length === 3)
    expect(seen.numbers).toEqual([0, 1, 2])
    expect((await manager.status())['seen']).toMatchObject({ missedWakeUps: 0, wakeUps: 1 })
    await manager.stop()
    expect(eventBus.getWildcardSubscriberCount()).toBe(0)
  })

  it('polls if no wake-up arrives, and counts the missed wake-ups', async () => {
    const scene = new SubscriptionScene()
    scene.store.onAppend = () => () => undefined
    const manager = scene.manager()
    const seen = new Seen()
    manager.subscribe(seen, { pollIntervalMs: 5 })
    manager.start()
    await waitFor(async () => (await manager.health()).status === 'up')
    await append(scene.store, 0, 3)

    await waitFor(() => seen.numbers.length === 3)
    await waitFor(async () => ((await manager.status())['seen']?.missedWakeUps ?? 0) > 0)
  })
})

describe('start, stop, pause, resume, subscribe', () => {
  it('starts a subscription that is added after the start', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 3)
    const manager = scene.manager()
    manager.start()
    manager.start()
    const seen = new Seen()
    manager.subscribe(seen)

    await manager.whenCaughtUp('seen')
    expect(seen.numbers).toEqual([0, 1, 2])
  })

  it('can be started again after a stop, and continues at its position', async () => {
    const scene = new SubscriptionScene()
    const manager = scene.manager()
    const seen = new Seen()
    manager.subscribe(seen)
    for (let round = 0; round < 5; round += 1) {
      await append(scene.store, round * 10, round * 10 + 10)
      manager.start()
      await manager.whenCaughtUp('seen')
      const stopping = manager.stop()
      if (round % 2 === 0) await stopping
    }
    manager.start()
    await manager.whenCaughtUp('seen')

    expect(seen.numbers).toEqual(numbers(0, 50))
  })

  it('handles and holds no event between pause and resume', async () => {
    const scene = new SubscriptionScene()
    const manager = scene.manager()
    const seen = new Seen()
    manager.subscribe(seen, { pollIntervalMs: 5 })
    manager.start()
    await append(scene.store, 0, 3)
    await manager.whenCaughtUp('seen')
    const readAll = scene.store.readAll.bind(scene.store)
    let read = 0
    scene.store.readAll = async function* (options) {
      for await (const stored of readAll(options)) {
        // A look at the age of the oldest event is no reading ahead.
        if (options?.limit !== 1) read += 1
        yield stored
      }
    }

    await manager.pause('seen')
    await append(scene.store, 3, 2000)
    await waitFor(async () => (await manager.status())['seen']?.lagPositions === 1997)
    expect(await manager.health()).toMatchObject({
      status: 'degraded',
      subscriptions: { seen: { state: 'paused' } },
    })
    expect(seen.numbers).toHaveLength(3)
    expect(read).toBeLessThanOrEqual(1)

    manager.resume('seen')
    await manager.whenCaughtUp('seen')
    expect(seen.numbers).toEqual(numbers(0, 2000))
  })

  it('pauses when the running handler has ended', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 3)
    const manager = scene.manager()
    const gate = Promise.withResolvers<void>()
    const begun: number[] = []
    const handle = async ({ n }: Noted) => {
      begun.push(n)
      await gate.promise
    }
    manager.subscribe({ name: 'slow', handle })
    manager.start()
    await waitFor(() => begun.length === 1)
    let isPaused = false
    const pausing = manager.pause('slow').then(() => {
      isPaused = true
    })
    await manager.status()
    expect(isPaused).toBe(false)

    gate.resolve()
    await pausing
    expect(begun).toEqual([0])
    manager.resume('slow')
    await manager.whenCaughtUp('slow')
    expect(begun).toEqual([0, 1, 2])
  })

  it('makes no further attempt while it is paused', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 1)
    const attempts = { paused: 0, clock: 0 }
    const failing = (name: keyof typeof attempts) => ({
      name,
      handle: () => {
        attempts[name] += 1
        if (attempts[name] < 8) throw new Error('as told')
      },
    })
    const manager = scene.manager()
    const options = { ...quick, retryBaseDelayMs: 4, maxRetries: 10 }
    manager.subscribe(failing('paused'), options)
    manager.start()
    await waitFor(() => attempts.paused >= 1)
    await manager.pause('paused')
    const before = attempts.paused
    // The other one has the same delays, so by its later attempts those of the paused one would have come.
    manager.subscribe(failing('clock'), options)
    await manager.whenCaughtUp('clock')
    expect(attempts.paused).toBe(before)

    manager.resume('paused')
    await manager.whenCaughtUp('paused')
    expect(attempts.paused).toBe(8)
  })

  it('can be stopped while paused and paused while stopped, and stays paused after a start', async () => {
    const scene = new SubscriptionScene()
    const manager = scene.manager()
    const seen = new Seen()
    manager.subscribe(seen)
    await manager.pause('seen')
    manager.start()
    await append(scene.store, 0, 3)
    await waitFor(async () => (await manager.status())['seen']?.state === 'paused')
    await manager.stop()
    await manager.stop()
    manager.resume('seen')
    manager.resume('seen')
    expect((await manager.status())['seen']?.state).toBe('stopped')
    expect(seen.numbers).toEqual([])

    manager.start()
    await manager.whenCaughtUp('seen')
    expect(seen.numbers).toEqual([0, 1, 2])
  })

  it('removes an unsubscribed subscription, and keeps its checkpoint', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 3)
    const manager = scene.manager()
    manager.subscribe(new Seen())
    manager.start()
    await manager.whenCaughtUp('seen')

    expect(await manager.unsubscribe('seen')).toBe(true)
    expect(await manager.unsubscribe('seen')).toBe(false)
    expect((await scene.checkpoints.load('seen'))?.position).toBe(3)
    expect(await manager.status()).toEqual({})
    await expect(manager.pause('seen')).rejects.toMatchObject({ code: 'SUBSCRIPTION_NOT_FOUND' })
  })

  it('rejects waiting callers when it is stopped', async () => {
    const scene = new SubscriptionScene()
    const manager = scene.manager()
    manager.subscribe(new Seen())
    manager.start()
    const waiting = manager.whenProcessed(1)
    const outcome = expect(waiting).rejects.toMatchObject({ code: 'SUBSCRIPTION_STOPPED' })
    await manager.stop()
    await outcome
  })
})

describe('subscribe', () => {
  it('accepts named handlers, each for its classes', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 2)
    await appendOne(scene.store, new Filed({ aggregateId: 'f', n: 2 }))
    const calls: string[] = []
    const manager = scene.manager()
    const handlers = [
      handlerFor(Noted, ({ n }) => calls.push(`noted ${n}`)),
      handlerFor([Noted, Filed], { handle: async ({ n }) => calls.push(`either ${n}`) }),
    ]
    manager.subscribe({ name: 'calls', handlers })
    manager.start()
    await manager.whenCaughtUp('calls')

    expect(calls).toEqual(['noted 0', 'either 0', 'noted 1', 'either 1', 'either 2'])
  })

  it('accepts an AsyncEventHandler, and calls its canHandle', async () => {
    class Even extends AsyncEventHandler<Noted> {
      readonly name = 'even'
      readonly numbers: number[] = []
      eventTypes() {
        return [Noted]
      }
      override canHandle({ n }: Noted): boolean {
        return n % 2 === 0
      }
      async handle({ n }: Noted): Promise<void> {
        this.numbers.push(n)
      }
    }
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 5)
    const manager = scene.manager()
    const even = new Even()
    manager.subscribe(even)
    manager.start()
    await manager.whenCaughtUp('even')

    expect(even.numbers).toEqual([0, 2, 4])
  })

  it('requires a name, ignores the name of the class, and refuses a name that is in use', () => {
    const manager = new SubscriptionScene().manager()
    class Orders {
      handle(): void {}
    }
    expect(() => manager.subscribe(new Orders())).toThrow(
      /A subscription needs a name, which identifies its checkpoint/,
    )
    expect(() => manager.subscribe({ handleBatch: () => undefined })).toThrow(TypeError)
    manager.subscribe(new Orders(), { name: 'orders' })

    expect(() => manager.subscribe({ name: 'orders', handle: () => undefined })).toThrow(
      'A subscription orders already exists',
    )
    manager.subscribe(new Orders(), { name: 'other' })
    // As plain JavaScript might.
    expect(() => manager.subscribe(JSON.parse('42'))).toThrow(/subscribe takes a projection .* got 42/)
    expect(() => manager.subscribe(JSON.parse('{ "name": "x" }'))).toThrow(TypeError)
  })

  it.each([
    [
      { subscribedTo: async () => [] },
      /subscribedTo\(\) must return an array of event classes, got an instance of Promise/,
    ],
    [{ subscribedTo: () => ['OrderCreated'] }, /An event class created with defineEvent is required/],
    [{ subscribedTo: () => [] }, /At least one event class is required/],
    [{ *handleBatch() {} }, /must not be a generator function/],
  ])('refuses a wrong batch projection: %o', (members, message) => {
    const manager = new SubscriptionScene().manager()
    const projection = { name: 'orders', handleBatch: () => undefined, ...members }

    expect(() => manager.subscribe(projection as never)).toThrow(message)
  })

  it('lists every wrong option', () => {
    const manager = new SubscriptionScene().manager()
    const options = { startFrom: -1, batchSize: 0, maxRetries: -1, checkpointEveryMs: 0, eventClasses: [] }
    const subscribe = () => manager.subscribe(new Seen(), options)

    expect(subscribe).toThrow(
      /subscription seen: startFrom must be 'checkpoint', 'beginning', 'end', a position/,
    )
    for (const name of ['batchSize', 'maxRetries', 'checkpointEveryMs', 'eventClasses']) {
      expect(subscribe).toThrow(new RegExp(`${name} must be`))
    }
    const { store: eventStore, checkpoints } = new SubscriptionScene()
    const deaf = new SubscriptionManager({ eventStore, checkpoints })
    expect(() => deaf.subscribe(new Seen(), { onFailure: 'deadLetter' })).toThrow(
      "onFailure 'deadLetter' requires the option deadLetters of the manager",
    )
    const absent = JSON.parse('{ "leaseTtlMs": 0 }')
    expect(() => new SubscriptionManager({ eventStore, ...absent })).toThrow(
      /leaseTtlMs must be .*checkpoints is required: a CheckpointStore/,
    )
  })

  // As plain JavaScript might.
  it.each<[string, (manager: SubscriptionManager, options: never) => Promise<unknown>, object]>([
    ['unsubscribe', (manager, options) => manager.unsubscribe('seen', options), { timeout: 5 }],
    ['stop', (manager, options) => manager.stop(options), { timeoutms: 5 }],
    ['runUntilShutdown', (manager, options) => manager.runUntilShutdown(options), { signal: 'SIGTERM' }],
    ['rebuild', (manager, options) => manager.rebuild('seen', options), { in: new Seen() }],
    ['replayParked', (manager, options) => manager.replayParked('seen', options), { position: [1] }],
    ['whenCaughtUp', (manager, options) => manager.whenCaughtUp('seen', options), { timeoutMs: 5 }],
    ['whenProcessed', (manager, options) => manager.whenProcessed(0, 'seen', options), { signal: 5 }],
  ])('refuses a misspelt option of %s', async (_name, call, options) => {
    const manager = new SubscriptionScene().manager()
    manager.subscribe(new Seen(), JSON.parse('null'))

    await expect(call(manager, options as never)).rejects.toThrow(ConfigError)
    expect(Object.keys(await manager.status())).toEqual(['seen'])
  })
})
