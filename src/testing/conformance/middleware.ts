import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  currentLogFields,
  currentTenant,
  loggingContext,
  runAsTenant,
  tenantContext,
  validation,
} from '../../index.ts'
import { test } from './conformance-test.ts'
import { Marked, marked, Noted, noted } from './events.ts'
import { Recording } from './recording.ts'
import { timed } from './scene.ts'

const fail = () => {
  throw new Error('planned')
}

/** Functions around handlers and publishing, and what follows from their errors. */
export const middlewareTests = [
  test('runs middleware around each run of each handler, the first one outermost', {}, async (scene) => {
    const steps: string[] = []
    const bus = await scene.bus()
    for (const name of ['outer', 'inner']) {
      bus.use(async ({ handlerName }, next) => {
        steps.push(`${handlerName} ${name}`)
        await next()
        steps.push(`${handlerName} ${name} end`)
      })
    }
    bus.subscribe(Noted, () => steps.push('a handled'), { name: 'a' })
    bus.subscribe(Noted, () => steps.push('b handled'), { name: 'b' })
    await scene.consume(bus)

    await bus.publish([noted('Order-1')])
    await scene.until(
      'all steps',
      () => steps.length === 10,
      () => steps,
    )

    for (const name of ['a', 'b']) {
      assert.deepEqual(
        steps.filter((step) => step.startsWith(name)),
        ['outer', 'inner', 'handled', 'inner end', 'outer end'].map((step) => `${name} ${step}`),
      )
    }
  }),

  test('fails the attempt if middleware throws, and runs the middleware again with the retry', {
    needs: ['retry'],
  }, async (scene) => {
    const [works, fails] = [new Recording<Noted>(), new Recording<Noted>(({ n }) => n === 1 && fail())]
    const attempts: string[] = []
    const bus = await scene.consumer(
      (it) => {
        it.use(async ({ attempt, handlerName }, next) => {
          attempts.push(`${handlerName} ${attempt}`)
          if (handlerName === 'works' && attempt === 1) fail()
          await next().catch((cause) => {
            throw new Error('replaced', { cause })
          })
        })
        it.subscribe(Noted, works.handler, { name: 'works' })
        it.subscribe(Noted, fails.handler, { name: 'fails', maxRetries: 0 })
      },
      { maxRetries: 1 },
    )

    await bus.publish([noted('Order-1', 1), noted('Order-1', 2)])
    await scene.runs(works, 2)

    assert.deepEqual(
      works.runs.map(({ attempt }) => attempt),
      [2, 2],
    )
    assert.deepEqual(attempts.slice(0, 3), ['works 1', 'fails 1', 'works 2'])
    const [letter] = (await bus.deadLetters.list()).deadLetters
    assert.deepEqual([letter?.handlerNames, letter?.errorMessage], [['fails'], 'replaced'])
  }),

  test('takes neither a caught error nor a handler that was left out for a success', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const recording = new Recording<Noted>(({ n }) => n === 1 && fail())
    const bus = await scene.consumer(
      (it) => {
        it.use(async ({ event }, next) => {
          if (event.aggregateId !== 'left out') await next().catch(() => undefined)
        })
        it.subscribe(Noted, recording.handler, { name: 'one' })
      },
      { maxRetries: 0 },
    )

    await bus.publish([noted('caught', 1), noted('left out', 2), noted('fine', 3)])
    await scene.until('two dead letters', async () => (await bus.deadLetters.count()) === 2)
    await scene.runs(recording, 2)

    const { deadLetters } = await bus.deadLetters.list()
    assert.deepEqual(
      deadLetters.map(({ aggregateId, errorName }) => `${aggregateId}: ${errorName}`).toSorted(),
      ['caught: Error', 'left out: MiddlewareError'],
    )
    assert.equal(bus.getStats().eventsProcessedSuccess, 1)
  }),

  test('waits for a handler that its middleware does not wait for', { needs: ['retry'] }, async (scene) => {
    const recording = new Recording<Noted>(async (_event, { attempt }) => {
      await nextTurn()
      if (attempt === 1) fail()
    })
    const refused: unknown[] = []
    const bus = await scene.consumer(
      (it) => {
        it.use((_context, next) => {
          void next()
          if (recording.runs.length === 2) next().catch((error: unknown) => refused.push(error))
        })
        it.subscribe(Noted, recording.handler, { name: 'one' })
      },
      { maxRetries: 2 },
    )

    await bus.publish([noted('Order-1')])
    await scene.runs(recording, 3)

    // The second attempt failed, because its middleware called next() twice.
    assert.deepEqual(
      recording.runs.map(({ attempt }) => attempt),
      [1, 2, 3],
    )
    assert.match(String(refused[0]), /called next\(\) twice/)
  }),

  test('publishes what middleware passes on, and nothing if it throws or passes nothing on', {}, async (scene) => {
    const recording = new Recording<Noted>()
    const seen: (readonly unknown[])[] = []
    const bus = await scene.bus()
    bus.use({
      publish: async ({ events }, next) => {
        if (events.some(({ aggregateId }) => aggregateId === 'refused')) throw new RangeError('planned')
        await next(events.map((event) => event.withMetadata({ by: 'outer' })))
      },
    })
    bus.use({
      publish: async ({ events }, next) => {
        seen.push(events.map(({ metadata }) => metadata['by']))
        await next(events.filter(({ aggregateId }) => aggregateId !== 'left out'))
      },
    })
    bus.subscribe(Noted, recording.handler)
    await scene.consume(bus)

    await assert.rejects(bus.publish([noted('fine', 1), noted('refused', 2)]), RangeError)
    await bus.publish([noted('left out', 3)])
    await bus.publish([noted('left out', 4), noted('fine', 5)])
    await scene.runs(recording, 1)

    assert.deepEqual(
      recording.events.map(({ n, metadata }) => [n, metadata['by']]),
      [[5, 'outer']],
    )
    assert.deepEqual(seen, [['outer'], ['outer', 'outer']])
    bus.use({ publish: () => undefined })
    await assert.rejects(bus.publish([noted('fine', 6)]), { code: 'MIDDLEWARE_INVALID' })
  }),

  test('lets middleware of a background publish shut its bus down, and stores the event', {}, async (scene) => {
    const bus = await scene.bus()
    await bus.publish([noted('Order-1')])
    const shutdowns: number[] = []
    bus.use({
      publish: async (_context, next) => {
        shutdowns.push(await timed(() => bus.shutdown({ timeoutMs: 60_000 })))
        await next()
      },
    })

    await bus.publish([noted('Order-1')], { background: true })
    await scene.until('the shutdown', () => shutdowns.length === 1)
    await scene.within(bus.shutdown(), 'the end of the shutdown')

    assert.ok((shutdowns[0] ?? 0) < scene.slackMs, `it took ${shutdowns[0]} ms`)
    assert.equal(Reflect.get(bus.getStats(), 'eventsPublished'), 2)
  }),

  test('refuses what is no middleware', {}, async (scene) => {
    const bus = await scene.bus()
    for (const wrong of [undefined, {}, { handle: 1 }, 'handle']) {
      // Programs in JavaScript can pass anything.
      assert.throws(() => Reflect.apply(bus.use, bus, [wrong]), /use takes a function/)
    }
  }),

  test('gives handlers the log fields and the tenant of their event, and their events the tenant', {}, async (scene) => {
    const outcome: unknown[] = []
    const bus = await scene.bus()
    bus.use(loggingContext())
    bus.use(tenantContext())
    const marks = new Recording<Marked>()
    bus.subscribe(Marked, marks.handler, { name: 'marks' })
    bus.subscribe(
      Noted,
      async ({ aggregateId }) => {
        await nextTurn()
        const { eventType, handlerName } = currentLogFields()
        outcome.push([currentTenant(), eventType, handlerName])
        await bus.publish([marked(aggregateId)])
      },
      { name: 'notes' },
    )
    await scene.consume(bus)

    await runAsTenant('blue', () => bus.publish([noted('Order-1')]))
    await bus.publish([new Noted({ aggregateId: 'Order-2', n: 1, tenantId: 'red' })])
    await scene.runs(marks, 2)

    const ofNotes = ['ConformanceNoted', 'notes']
    assert.deepEqual(outcome.toSorted(), [
      ['blue', ...ofNotes],
      ['red', ...ofNotes],
    ])
    assert.deepEqual(marks.events.map(({ tenantId }) => tenantId).toSorted(), ['blue', 'red'])
    assert.deepEqual([currentTenant(), currentLogFields()], [undefined, {}])
  }),

  test('publishes no event that is not valid, and hands none to a handler', {
    needs: ['deadLetters', 'consumerGroups'],
  }, async (scene) => {
    const recording = new Recording<Noted>()
    const strict = validation(Noted, ({ n }) => assert.ok(n > 0, 'n must be positive'))
    const bus = await scene.consumer((it) => {
      it.use(strict)
      it.subscribe(Noted, recording.handler, { name: 'notes' })
    })
    const careless = await scene.brokerBus()

    await assert.rejects(bus.publish([noted('Order-1', 1), noted('Order-1', 0)]), /n must be positive/)
    await careless.publish([noted('Order-1', 0), noted('Order-1', 2)])
    await scene.runs(recording, 1)

    assert.equal(recording.events[0]?.n, 2)
    const [letter] = (await bus.deadLetters.list()).deadLetters
    assert.deepEqual([letter?.reason, letter?.attempts], ['rejected', 1])
    assert.match(letter?.errorMessage ?? '', /n must be positive/)
  }),
]
