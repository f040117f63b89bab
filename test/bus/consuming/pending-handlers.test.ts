import { describe, expect, it } from 'vitest'
import { pendingHandlers } from '../../../src/bus/consuming/pending-handlers.ts'
import { HandlerRegistry } from '../../../src/handling/handler-registry.ts'
import {
  type Delivery,
  EventRegistry,
  replayHeader,
  replayTarget,
  type SubscribeOptions,
} from '../../../src/index.ts'
import { OrderCreated } from '../../support/order-events.ts'

/** The handlers of a release, by their names; `undefined` for one without. */
function release(...options: readonly (SubscribeOptions | undefined)[]) {
  const registry = new HandlerRegistry(new EventRegistry(), { needsNames: true })
  for (const [index, option] of options.entries()) {
    const handler = { [`f${index}`]: () => undefined }[`f${index}`]
    registry.subscribe(OrderCreated, handler, option)
  }
  return registry.handlersFor('OrderCreated')
}

/** Index of each pending handler in its release, and the missing names. */
function pending(
  handlers: ReturnType<typeof release>,
  { settled = [], replay }: { readonly settled?: readonly string[]; readonly replay?: string },
) {
  // The part of a delivery that the function reads.
  const delivery = {
    settledHandlers: settled,
    replayTarget: replay === undefined ? undefined : replayTarget({ replay_handlers: replay }),
  } as unknown as Delivery
  const result = pendingHandlers(handlers, delivery)
  return [result.handlers.map((handler) => handlers.indexOf(handler)), result.missing]
}

const letter = (handlerNames: readonly string[], settledHandlers?: readonly string[]) =>
  replayHeader({ handlerNames, settledHandlers })

describe('an event is for', () => {
  it('all handlers at first', () => {
    expect(pending(release(undefined, { name: 'a' }), {})).toEqual([[0, 1], []])
  })

  it('those that are not noted to have succeeded', () => {
    expect(pending(release(undefined, { name: 'a' }, { name: 'b' }), { settled: ['a'] })).toEqual([
      [0, 2],
      [],
    ])
  })

  it('one that is missing although all handlers on this bus have succeeded', () => {
    expect(pending(release({ name: 'a' }), { settled: ['a'] })).toEqual([[], ['(unnamed)']])
  })
})

describe('marks of earlier releases, with names of functions and numbers', () => {
  it.each(['anonymous', 'anonymous#2', 'f0'])('skip no handler: %s', (name) => {
    expect(pending(release(undefined, undefined), { settled: [name] })).toEqual([[0, 1], []])
  })

  it('hold for a handler to which that name was given since', () => {
    expect(pending(release({ name: 'f0' }, undefined), { settled: ['f0'] })).toEqual([[1], []])
  })
})

describe('a replay is for', () => {
  it('the handlers of the names, by alias too', () => {
    const handlers = release({ name: 'a' }, { name: 'b', aliases: ['c'] }, undefined)

    expect(pending(handlers, { replay: letter(['c'], ['a']) })).toEqual([[1], []])
  })

  it('the handlers of the names that are here, and names the others', () => {
    expect(pending(release({ name: 'a' }, { name: 'b' }), { replay: letter(['b', 'x'], []) })).toEqual([
      [1],
      ['x'],
    ])
    expect(pending(release({ name: 'a' }), { replay: letter(['x'], []) })).toEqual([[], ['x']])
  })

  it('all that are not noted to have succeeded, if one without a name failed', () => {
    const handlers = release({ name: 'a' }, { name: 'b' }, undefined)

    expect(pending(handlers, { replay: letter(['(unnamed)'], ['a']) })).toEqual([[1, 2], []])
    expect(pending(handlers, { replay: letter(['(unnamed)', 'x'], ['a']) })).toEqual([[1, 2], ['x']])
  })

  it('all handlers, if the dead letter names none', () => {
    expect(pending(release({ name: 'a' }, undefined), { replay: letter([]) })).toEqual([[0, 1], []])
  })

  it.each(['nonsense', '{"handlers":7}', '["a",7]'])(
    'all handlers, if its header is malformed: %s',
    (replay) => {
      expect(pending(release({ name: 'a' }, undefined), { replay })).toEqual([[0, 1], []])
    },
  )
})

describe('a dead letter of an earlier release', () => {
  it('is for the handlers of its names if all have them', () => {
    expect(pending(release({ name: 'a' }, { name: 'b' }), { replay: '["b"]' })).toEqual([[1], []])
  })

  it('is for all handlers if a name is of none, as it may be that of a function', () => {
    expect(pending(release({ name: 'a' }, undefined), { replay: '["anonymous#2"]' })).toEqual([[0, 1], []])
  })
})

describe('a name of a handler', () => {
  it('is refused if another handler of the event has it', () => {
    expect(() => release({ name: 'a' }, { name: 'b', aliases: ['a'] })).toThrow(
      'Two handlers of OrderCreated have the name "a".',
    )
  })

  it.each(['', '(unnamed)', 7])('is refused if it is %j', (name) => {
    expect(() => release({ name: name as string })).toThrow(/handler's name must be a non-empty string/)
  })

  it('may be that of an object', () => {
    const registry = new HandlerRegistry(new EventRegistry(), { needsNames: true })
    registry.subscribe(OrderCreated, { name: 'invoice', handle: () => undefined })

    expect(registry.handlersFor('OrderCreated')[0]).toMatchObject({ id: 'invoice', name: 'invoice' })
  })
})

describe('a verdict of canHandle', () => {
  it.each([
    ['a promise', () => Promise.resolve(true)],
    ['a rejected promise', () => Promise.reject(new Error('late'))],
    ['an object', () => ({})],
    ['undefined', () => undefined],
  ])('that is %s fails the handler', (_what, canHandle) => {
    const registry = new HandlerRegistry(new EventRegistry())
    registry.subscribe(OrderCreated, { canHandle, handle: () => undefined })
    const [entry] = registry.handlersFor('OrderCreated')
    const event = new OrderCreated({ aggregateId: '1', customerId: 'c' })

    expect(() => entry?.accepts?.(event)).toThrow(/canHandle of Object must return a boolean, got/)
  })

  it('is refused at once if canHandle is no function', () => {
    const registry = new HandlerRegistry(new EventRegistry())

    expect(() => registry.subscribe(OrderCreated, { canHandle: true, handle: () => undefined })).toThrow(
      /canHandle of Object must be a function, got true/,
    )
  })

  it('is refused at once if subscribedTo returns no array', () => {
    const registry = new HandlerRegistry(new EventRegistry())

    expect(() => registry.subscribeAll({ subscribedTo: async () => [], handle: () => undefined })).toThrow(
      /subscribedTo\(\) must return an array of event classes, got/,
    )
  })
})
