import { expect, it } from 'vitest'
import { z } from 'zod'
import {
  CloudEventsCodec,
  type DomainEvent,
  defineEvent,
  InMemoryCheckpointStore,
  InMemorySubscriptionDeadLetterStore,
  JsonCodec,
  type RelayOptions,
  replaceEvent,
  SubscriptionManager,
  type SubscriptionManagerOptions,
} from '../../src/index.ts'
import type { SqliteStores } from '../../src/sqlite/index.ts'
import {
  MemoryBroker,
  MemoryBrokerEventBus,
  type MemoryBrokerEventBusOptions,
} from '../../src/testing/index.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { appendNotes, appendTo, Noted, numbers, withFile } from './sqlite-scene.ts'

type Message = Parameters<MemoryBroker['append']>[0]

class RecordingBroker extends MemoryBroker {
  readonly appended: Message[] = []
  onFirstMessage: (() => void) | undefined

  override append(message: Message): void {
    this.appended.push(message)
    super.append(message)
    if (this.appended.length === 1) this.onFirstMessage?.()
  }
}

function managerOf({ events: eventStore }: SqliteStores, options: Partial<SubscriptionManagerOptions> = {}) {
  const parts = { checkpoints: new InMemoryCheckpointStore(), logger: new RecordingLogger() }
  return new SubscriptionManager({ eventStore, ...parts, ...options })
}

/** Relays all events of the stores. @returns the messages of the broker. */
async function relayed(
  stores: SqliteStores,
  given: {
    readonly bus?: Omit<MemoryBrokerEventBusOptions, 'broker'>
    readonly manager?: Partial<SubscriptionManagerOptions>
    readonly relay?: Omit<RelayOptions, 'name'>
    readonly onFirstMessage?: (bus: MemoryBrokerEventBus) => void
  } = {},
): Promise<readonly Message[]> {
  const broker = new RecordingBroker()
  await using bus = new MemoryBrokerEventBus({ broker, ...given.bus })
  broker.onFirstMessage = () => given.onFirstMessage?.(bus)
  await using manager = managerOf(stores, given.manager)
  manager.relay(bus, { name: 'relay', ...given.relay })
  manager.start()
  await manager.whenCaughtUp('relay')
  return broker.appended
}

const bodiesOf = (messages: readonly Message[]) => messages.map(({ body }) => JSON.parse(String(body)))

it('publishes the messages that a publish of the decoded events sends', async () => {
  await using scene = withFile()
  const stores = scene.open()
  await appendNotes(stores, 10)
  const { events } = await stores.events.readPage()

  const messages = await relayed(stores)

  expect(messages).toEqual(events.map(({ event }) => new JsonCodec().encode(event)))
})

it('publishes events of a store that does not know their class', async () => {
  await using scene = withFile()
  const writer = scene.open()
  const events = await appendNotes(writer, 3)

  const messages = await relayed(scene.open({ events: [] }))

  expect(bodiesOf(messages)).toEqual(
    events.map(({ n }) => expect.objectContaining({ n, event_type: 'Noted' })),
  )
})

it('passes decoded events to a middleware that is added while the relay publishes', async () => {
  await using scene = withFile()
  const stores = scene.open()
  await appendNotes(stores, 250)
  const seen: DomainEvent[] = []

  const messages = await relayed(stores, {
    onFirstMessage: (bus) => {
      bus.use({
        publish: async ({ events }, next) => {
          seen.push(...events)
          await next()
        },
      })
    },
  })

  expect(seen.map((event) => event instanceof Noted && event.n)).toEqual(numbers(100, 250))
  expect(bodiesOf(messages).map(({ n }) => n)).toEqual(numbers(0, 250))
})

it('encodes the events anew for a bus with another codec, and for a subclass with its own publish', async () => {
  await using scene = withFile()
  const stores = scene.open()
  const [event] = await appendNotes(stores, 1)

  const snakes = await relayed(stores, { bus: { codec: new JsonCodec({ payloadKeys: 'snake_case' }) } })
  const cloud = await relayed(stores, { bus: { codec: new CloudEventsCodec({ source: '/orders' }) } })
  const published: DomainEvent[] = []
  class OwnBus extends MemoryBrokerEventBus {
    override publish(events: readonly DomainEvent[]): Promise<void> {
      published.push(...events)
      return super.publish(events)
    }
  }
  await using own = new OwnBus({})
  await using manager = managerOf(stores)
  manager.relay(own, { name: 'own' })
  manager.start()
  await manager.whenCaughtUp('own')

  expect(bodiesOf(snakes)).toMatchObject([{ event_id: event?.eventId, n: 0 }])
  expect(bodiesOf(cloud)).toMatchObject([{ id: event?.eventId, data: { n: 0 } }])
  expect(published).toEqual([event])
})

it('publishes the events that replace an event', async () => {
  class Split extends defineEvent<{ readonly half: number }>()({ type: 'Split', aggregateType: 'Note' }) {}
  await using scene = withFile()
  const stores = scene.open({ events: [Noted, Split] })
  await appendNotes(stores, 1, 8)
  const replacements = [
    replaceEvent(Noted, [Split] as const, ({ n }, create) => [create(Split, { half: n / 2 })]),
  ]

  const messages = await relayed(stores, { manager: { replacements } })

  expect(bodiesOf(messages)).toMatchObject([{ event_type: 'Split', half: 4 }])
})

it('parks a refused event with its payload, and continues', async () => {
  await using scene = withFile()
  const stores = scene.open()
  await appendNotes(stores, 2)
  const large = new Noted({ aggregateId: 'large', n: 2, metadata: { many: numbers(0, 30_001) } })
  await appendTo(stores.events, large)
  await appendNotes(stores, 1, 3)
  const deadLetters = new InMemorySubscriptionDeadLetterStore()

  const messages = await relayed(stores, { manager: { deadLetters }, relay: { onFailure: 'deadLetter' } })

  expect(bodiesOf(messages).map(({ n }) => n)).toEqual([0, 1, 3])
  expect((await deadLetters.list()).map(({ event }) => event)).toEqual([large])
})

it('publishes an event that the class of this process refuses as it is stored', async () => {
  await using scene = withFile()
  const stores = scene.open()
  await appendNotes(stores, 1)
  const Strict = defineEvent({
    type: 'Noted',
    aggregateType: 'Note',
    schema: z.object({ n: z.number().min(1) }),
  })

  const messages = await relayed(scene.open({ events: [Strict] }))

  expect(bodiesOf(messages)).toMatchObject([{ n: 0 }])
})
