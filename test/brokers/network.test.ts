import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { PublishError } from '../../src/index.ts'
import { OrderShipped, orderShipped } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { waitFor } from '../support/wait-for.ts'
import { createBus, startNetwork, systems } from './every-bus.ts'

const MAX_IN_FLIGHT = 50
const AGGREGATES = 10
const ROUNDS = 25
/** Low enough to break messages, and higher than connecting needs. */
const CHUNKS_PER_RESET = { redis: 40, rabbitmq: 150, kafka: 40 }
/** Limited, because a RabbitMQ consumer makes little progress between breaks after so few chunks. */
const RESETS = 8

it.each(systems)(
  'loses nothing and keeps the order over a slow network that breaks in the middle of messages, on %s',
  async (system) => {
    const scope = `test-${randomUUID().slice(0, 8)}`
    const { network, port } = await startNetwork(system)
    const options = { maxInFlight: MAX_IN_FLIGHT, publishTimeoutMs: 20_000 }
    const logger = new RecordingLogger()
    const consumer = createBus(system, scope, { ...options, logger }, port)
    const publisher = createBus(system, scope, options, port)
    const firsts = new Map<string, string[]>()
    const seen = new Set<string>()
    let mostHeld = 0
    consumer.subscribe(OrderShipped, ({ aggregateId, eventId }) => {
      mostHeld = Math.max(mostHeld, consumer.getStats().inFlight)
      if (!seen.has(eventId)) firsts.set(aggregateId, [...(firsts.get(aggregateId) ?? []), eventId])
      seen.add(eventId)
    })
    consumer.startConsumingInBackground()
    await consumer.whenConsuming()
    await publisher.connect()

    network.degrade({
      latencyMs: 15,
      bytesPerSecond: 200_000,
      chunksPerReset: CHUNKS_PER_RESET[system],
      resets: RESETS,
    })
    const sent = new Map<string, string[]>()
    const reconnections = () => consumer.getStats().reconnections + publisher.getStats().reconnections
    // How many chunks a round has depends on the speed of the machine.
    let rounds = 0
    for (; rounds < ROUNDS || reconnections() === 0; rounds += 1) {
      let left = Array.from({ length: AGGREGATES }, (_, n) => orderShipped(`Order-${n}`))
      for (const { aggregateId, eventId } of left) {
        sent.set(aggregateId, [...(sent.get(aggregateId) ?? []), eventId])
      }
      while (left.length > 0) {
        const error = await publisher.publish(left).catch((thrown: unknown) => thrown)
        if (error !== undefined && !(error instanceof PublishError)) throw error
        const stored = new Set(
          error?.outcomes.filter(({ status }) => status === 'stored').map(({ eventId }) => eventId),
        )
        left = error === undefined ? [] : left.filter(({ eventId }) => !stored.has(eventId))
      }
    }

    await waitFor(() => seen.size === rounds * AGGREGATES, {
      timeoutMs: 60_000,
      describe: () =>
        `all events, saw ${seen.size}; ${JSON.stringify([consumer.getStats(), logger.lines.slice(-12).map(({ message, fields }) => [message, String(fields['error'])])])}`,
    })
    expect(firsts).toEqual(sent)
    expect(mostHeld).toBeLessThanOrEqual(MAX_IN_FLIGHT)
    expect(reconnections()).toBeGreaterThan(0)
    expect(consumer.getStats()).toMatchObject({ eventsProcessedFailed: 0, handlerErrors: 0 })
  },
)

it.each(systems.flatMap((system) => (['requests', 'answers'] as const).map((way) => [system, way] as const)))(
  'detects on %s that its %s vanish in the network, and resumes when they arrive',
  async (system, way) => {
    const scope = `test-${randomUUID().slice(0, 8)}`
    const { network, port } = await startNetwork(system)
    const bus = createBus(system, scope, {}, port)
    const seen: string[] = []
    let losses = 0
    bus.onNotice(({ type }) => {
      if (type === 'connectionLost') losses += 1
    })
    bus.subscribe(OrderShipped, ({ eventId }) => seen.push(eventId))
    bus.startConsumingInBackground()
    await bus.whenConsuming()

    network.silence(way)
    await waitFor(() => losses > 0, { timeoutMs: 10_000 })
    const event = orderShipped()
    await createBus(system, scope, {}).publish([event])
    network.silence(undefined)

    await waitFor(() => seen.length === 1, { timeoutMs: 20_000 })
    expect(seen).toEqual([event.eventId])
    await waitFor(() => bus.getStats().reconnections > 0)
  },
)
