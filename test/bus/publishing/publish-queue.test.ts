import { describe, expect, it, onTestFinished } from 'vitest'
import { PublishQueue } from '../../../src/bus/publishing/publish-queue.ts'
import { type DomainEvent, JsonCodec } from '../../../src/index.ts'
import type { OutgoingMessage, PublishFailure } from '../../../src/transport/index.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { SteppedClock } from '../../support/stepped-clock.ts'

const codec = new JsonCodec()

/** A transport that holds messages until the test confirms them. */
class HoldingTransport {
  readonly sent: OutgoingMessage[] = []
  held = 0
  mostHeld = 0
  mostBytes = 0
  #bytes = 0
  #confirms: (() => void)[] = []

  readonly send = (messages: readonly OutgoingMessage[]): Promise<readonly PublishFailure[]> => {
    const bytes = messages.reduce((sum, { body }) => sum + body.length, 0)
    this.sent.push(...messages)
    this.held += messages.length
    this.#bytes += bytes
    this.mostHeld = Math.max(this.mostHeld, this.held)
    this.mostBytes = Math.max(this.mostBytes, this.#bytes)
    return new Promise((resolve) => {
      this.#confirms.push(() => {
        this.held -= messages.length
        this.#bytes -= bytes
        resolve([])
      })
    })
  }

  /** Confirms what was sent first, as one answer of a broker does. */
  confirm(count: number): void {
    for (const confirm of this.#confirms.splice(0, count)) confirm()
  }
}

function createQueue(
  transport: HoldingTransport,
  { timeoutMs = 60_000, encode = codec.encode.bind(codec) } = {},
) {
  const queue = new PublishQueue({
    encode,
    send: transport.send,
    expired: () => new Error('too late'),
    overdue: () => new Error('no outcome'),
    timeoutMs,
  })
  return { queue, publish: (events: readonly DomainEvent[]) => publishOn(queue, events) }
}

/** @returns the failures. @throws what `encode` throws. */
function publishOn(queue: PublishQueue, events: readonly DomainEvent[]) {
  return new Promise<readonly PublishFailure[]>((settled, refused) => {
    queue.publish({ events, trace: undefined, cause: undefined, turn: undefined, settled, refused })
  })
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Confirms 500 calls in each turn of the event loop until the work is done. */
async function confirmAll(
  transport: HoldingTransport,
  work: Promise<unknown>,
  onTurn = () => {},
): Promise<void> {
  let isDone = false
  void work.finally(() => {
    isDone = true
  })
  while (!isDone) {
    await turn()
    onTurn()
    transport.confirm(500)
  }
}

/** A queue for which the encoding of each event takes 0.002 ms, and the longest turn of the event loop on that clock. */
function createSlowQueue(transport: HoldingTransport) {
  const clock = new SteppedClock()
  const encode = (event: DomainEvent) => {
    clock.advance(0.002)
    return codec.encode(event)
  }
  let turnStart = 0
  const slow = {
    ...createQueue(transport, { encode }),
    longestMs: 0,
    onTurn() {
      slow.longestMs = Math.max(slow.longestMs, clock.nowMs - turnStart)
      turnStart = clock.nowMs
    },
  }
  return slow
}
/** A slice of 10 ms ends with the chunk of 1,000 events that it has started. A turn holds at most the ends of two slices. */
const LONGEST_TURN_MS = 30

const events = Array.from({ length: 100_000 }, (_, index) => orderCreated(`a${index % 5000}`))
const idsOf = (messages: readonly OutgoingMessage[]) => messages.map(({ headers }) => headers['event_id'])
const wanted = events.map(({ eventId }) => eventId)

describe('a burst of publishes', () => {
  it('of 100,000 events in one call keeps their order, and neither blocks the event loop nor fills the transport', async () => {
    const transport = new HoldingTransport()
    const queue = createSlowQueue(transport)
    const publishing = queue.publish(events)
    await confirmAll(transport, publishing, queue.onTurn)
    expect(await publishing).toEqual([])
    expect(idsOf(transport.sent)).toEqual(wanted)
    expect(transport.mostHeld).toBeLessThanOrEqual(10_000)
    expect(queue.longestMs).toBeLessThan(LONGEST_TURN_MS)
  })

  it('of 100,000 calls keeps their order, and neither blocks the event loop nor fills the transport', async () => {
    const transport = new HoldingTransport()
    const queue = createSlowQueue(transport)
    const publishing = Promise.all(events.map((event) => queue.publish([event])))
    // The caller's own loop has hardly sent anything by now.
    expect(transport.sent.length).toBeLessThan(20_000)
    await confirmAll(transport, publishing, queue.onTurn)
    await publishing
    expect(idsOf(transport.sent)).toEqual(wanted)
    expect(transport.mostHeld).toBeLessThanOrEqual(2500)
    expect(queue.longestMs).toBeLessThan(LONGEST_TURN_MS)
  })

  it('of large events is bounded by their bytes', async () => {
    const transport = new HoldingTransport()
    const { publish } = createQueue(transport)
    const customerId = 'x'.repeat(900_000)
    const large = Array.from({ length: 100 }, () => new OrderCreated({ aggregateId: 'Order-1', customerId }))
    const publishing = Promise.all(large.map((event) => publish([event])))
    await confirmAll(transport, publishing)
    expect(transport.sent).toHaveLength(100)
    expect(transport.mostBytes).toBeLessThanOrEqual(33_554_432)
  })

  it('is not rejected while the broker makes progress, however long it takes', async () => {
    const timeoutMs = paced(300)
    const transport = new HoldingTransport()
    const { publish } = createQueue(transport, { timeoutMs })
    const startedAt = performance.now()
    const calls = Promise.all(events.slice(0, 30_000).map((event) => publish([event])))
    // Each confirmation comes in time, all of them together do not.
    const confirming = setInterval(() => transport.confirm(1000), timeoutMs / 20)
    onTestFinished(() => clearInterval(confirming))

    expect((await calls).flat()).toEqual([])
    expect(performance.now() - startedAt).toBeGreaterThan(timeoutMs)
    expect(transport.sent).toHaveLength(30_000)
  })

  it('reports events that were not passed to the transport in time as not stored, and never sends them', async () => {
    const transport = new HoldingTransport()
    const { publish, queue } = createQueue(transport)
    const calls = events.slice(0, 3000).map((event) => publish([event]))
    while (transport.held < 2500) await turn()
    queue.giveUp()
    const outcomes = await Promise.all(calls.slice(2500))
    expect(new Set(outcomes.map(([failure]) => failure?.status))).toEqual(new Set(['notStored']))
    transport.confirm(Number.POSITIVE_INFINITY)
    await Promise.all(calls)
    expect(transport.sent).toHaveLength(2500)
  })
})

it('does no work while the transport holds the maximum', async () => {
  const transport = new HoldingTransport()
  const { queue, publish } = createQueue(transport)
  const calls = events.slice(0, 2500).map((event) => publish([event]))
  let looks = 0
  const last = new Promise<readonly PublishFailure[]>((settled, refused) => {
    queue.publish({
      // The queue reads the events of the first call that waits whenever it works.
      get events() {
        looks += 1
        return events.slice(2500, 2501)
      },
      ...{ trace: undefined, cause: undefined, turn: undefined, settled, refused },
    })
  })
  while (transport.held < 2500) await turn()
  await turn()
  expect(looks).toBeGreaterThan(0)

  looks = 0
  for (let n = 0; n < 5; n += 1) await turn()

  expect(looks).toBe(0)
  transport.confirm(Number.POSITIVE_INFINITY)
  while (transport.sent.length < 2501) await turn()
  transport.confirm(Number.POSITIVE_INFINITY)
  await Promise.all([...calls, last])
})

it('sends nothing of a call if one of its events cannot be encoded', async () => {
  const transport = new HoldingTransport()
  const queue = new PublishQueue({
    encode: (event) => {
      if (event === events[1500]) throw new TypeError('not encodable')
      return codec.encode(event)
    },
    send: transport.send,
    expired: () => new Error('too late'),
    overdue: () => new Error('no outcome'),
    timeoutMs: 60_000,
  })
  await expect(publishOn(queue, events.slice(0, 2000))).rejects.toThrow('not encodable')
  expect(transport.sent).toEqual([])
  void publishOn(queue, events.slice(0, 2))
  await turn()
  expect(transport.sent).toHaveLength(2)
})

it('reports the events of a call for which the transport reports nothing after their deadline as unknown', async () => {
  const transport = new HoldingTransport()
  const { publish, queue } = createQueue(transport)
  const calls = events.slice(0, 60).map((event) => publish([event]))
  while (transport.held < 60) await turn()
  transport.confirm(10)
  await Promise.all(calls.slice(0, 10))

  queue.giveUp()

  const outcomes = (await Promise.all(calls)).map(([failure]) => failure?.status)
  expect(outcomes).toEqual([...Array(10).fill(undefined), ...Array(50).fill('unknown')])
})

it('reports the events of a call that the transport rejects as unknown', async () => {
  const parts = { expired: () => new Error('too late'), overdue: () => new Error('no outcome') }
  const encode = codec.encode.bind(codec)
  for (const send of [
    () => Promise.reject(new Error('planned')),
    () => {
      throw new Error('planned')
    },
  ]) {
    const queue = new PublishQueue({ ...parts, encode, send, timeoutMs: 60_000 })
    expect(await publishOn(queue, events.slice(0, 2))).toMatchObject([
      { index: 0, status: 'unknown', error: { message: 'planned' } },
      { index: 1, status: 'unknown' },
    ])
  }
})
