import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { AggregateRoot, type Decider, defineEvent, draft, evolution } from '../../../src/index.ts'
import { given, project } from '../../../src/testing/index.ts'

const named = { aggregateType: 'Order' }
class Placed extends defineEvent({ ...named, type: 'Placed', schema: z.object({ total: z.number() }) }) {}
class Shipped extends defineEvent({ ...named, type: 'Shipped', schema: z.object({ code: z.string() }) }) {}

interface State {
  readonly status: 'new' | 'placed' | 'shipped'
}

const evolve = evolution<State>()
  .on(Placed, () => ({ status: 'placed' }))
  .on(Shipped, () => ({ status: 'shipped' }))

class NotPlacedError extends Error {}

class Order extends AggregateRoot<State> {
  protected readonly initialState: State = { status: 'new' }
  protected readonly evolve = evolve

  ship(code: string): void {
    if (this.state.status === 'shipped') return
    if (this.state.status === 'new') throw new NotPlacedError('the order is not placed')
    this.raise(Shipped, { code })
  }

  async shipLater(code: string): Promise<void> {
    await null
    this.ship(code)
  }
}

const decider: Decider<{ readonly code: string }, State> = {
  initialState: { status: 'new' },
  evolve,
  decide: ({ code }, { status }) => (status === 'placed' ? [draft(Shipped, { code })] : []),
}

const placed = draft(Placed, { total: 1 })
const shipped = draft(Shipped, { code: 'A' })

describe('given an aggregate', () => {
  it('expects the events of a command, or none', () => {
    given(Order, [placed])
      .when((order) => order.ship('A'))
      .expect([shipped])
    given(Order, [placed, shipped])
      .when((order) => order.ship('B'))
      .expectNothing()
  })

  it('accepts a function that creates the aggregate', () => {
    given((id) => new Order(id), [placed])
      .when((order) => order.ship('A'))
      .expect([shipped])
  })

  it('expects an error by its class or its message', () => {
    const result = given(Order, []).when((order) => order.ship('A'))

    result.expectError(NotPlacedError)
    result.expectError(/not placed/)
    result.expectError()
    expect(() => result.expectError(/sold out/)).toThrow('Expected an error: /sold out/')
    expect(() => result.expect([])).toThrow(NotPlacedError)
  })

  it('shows the difference of other events', () => {
    const result = given(Order, [placed]).when((order) => order.ship('B'))

    expect(() => result.expect([shipped])).toThrow(/Expected these events: \[.*'A'.*\nGot: \[.*'B'/s)
    expect(() => result.expectNothing()).toThrow(/Expected these events: \[\]/)
    expect(() => result.expectError()).toThrow(/Expected an error/)
  })

  it('awaits an asynchronous command', async () => {
    await given(Order, [placed])
      .when((order) => order.shipLater('A'))
      .expect([shipped])
    await given(Order, [])
      .when((order) => order.shipLater('A'))
      .expectError(NotPlacedError)
    await expect(
      given(Order, [placed])
        .when((order) => order.shipLater('A'))
        .expectNothing(),
    ).rejects.toThrow('Expected these events')
  })
})

it('given a decider, expects the events of a command', () => {
  given(decider, [placed]).when({ code: 'A' }).expect([shipped])
  given(decider, []).when({ code: 'A' }).expectNothing()
})

describe('project', () => {
  const sums = () => {
    const totals = new Map<string, number>()
    return {
      totals,
      canHandle: (event: Placed | Shipped) => event instanceof Placed,
      handle: async (event: Placed) => {
        await null
        totals.set(event.eventType, (totals.get(event.eventType) ?? 0) + event.total)
      },
    }
  }

  it('handles the events one after the other', async () => {
    const projection = sums()

    await project(projection, [placed, shipped, placed])

    expect([...projection.totals]).toEqual([['Placed', 2]])
  })

  it('handles each event twice to show that a projection is not idempotent', async () => {
    const projection = sums()

    await project(projection, [placed], { twice: true })

    expect(projection.totals.get('Placed')).toBe(2)
  })
})

it.each([Placed, undefined, { total: 1 }])('refuses %s in place of a draft', (value) => {
  const history = [value as never]

  expect(() => given(Order, history)).toThrow(/^A draft is needed, such as draft\(OrderPlaced, /)
})
