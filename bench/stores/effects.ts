// Rows about effects that happen once: what the inbox costs, and how fast a relay publishes.
import { type EventBus, type HandlerContext, type Stores, SubscriptionManager } from 'eventspine'
import type { BrokerKind } from '../../test/brokers/broker.ts'
import { sized } from '../arguments.ts'
import type { BrokerBench } from '../broker-bench.ts'
import { brokerBench } from '../brokers/index.ts'
import { silent } from '../brokers/silent.ts'
import { startBroker } from '../brokers/start.ts'
import { compare, rate, type Step } from '../harness.ts'
import { OrderCreated, orderEvents } from '../order.ts'
import { median } from '../statistics.ts'
import { inBatches } from '../works/publish.ts'
import { once, placed } from './store-bench.ts'

/** The stores of a row, and a write of a handler. */
export interface EffectsScene<Client> {
  /** Stores without any event. */
  readonly open: () => Promise<Stores<Client>>
  /** Inserts one row. */
  readonly write: (client: Client) => Promise<unknown> | unknown
  /** One round trip to the server, if there is one. */
  readonly roundTrip?: (client: Client) => Promise<unknown>
}

const KINDS = ['redis', 'rabbitmq', 'kafka'] as const
/** Number of events that a relay publishes in a round. */
const RELAYED = { redis: 30_000, rabbitmq: 15_000, kafka: 30_000 } as const
/** Number of handled events in a round. */
const HANDLED = 1000

const CONTEXT: HandlerContext = {
  ...{ signal: new AbortController().signal, attempt: 1, deliveryCount: 1 },
  ...{ consumerGroup: undefined, messageId: undefined },
}

export function effectSteps<Client>(scene: EffectsScene<Client>): readonly Step[] {
  return [
    inboxStep(scene),
    ...(scene.roundTrip === undefined ? [] : [roundTripStep(scene, scene.roundTrip)]),
    ...KINDS.flatMap((kind) => [relayStep(scene, kind, 100), relayStep(scene, kind, 1000)]),
  ]
}

const withInbox = async <Client>(stores: Stores<Client>, write: EffectsScene<Client>['write']) => {
  const { handle } = stores.inbox.once('bench', (_event, { tx }) => write(tx.client))
  return p50(() => handle(placed(), CONTEXT))
}

const withoutInbox = <Client>(stores: Stores<Client>, write: EffectsScene<Client>['write']) =>
  p50(() => stores.transaction(async ({ client }) => write(client)))

function inboxStep<Client>({ open, write }: EffectsScene<Client>): Step {
  const stores = once(open)
  return compare({
    work: 'a handler that writes once, with the inbox, p50',
    peer: 'the same transaction without it',
    unit: 'ms',
    ours: async () => withInbox(await stores(), write),
    raw: async () => withoutInbox(await stores(), write),
  })
}

/** The goal is a ratio of 1: the inbox adds no more than a round trip. */
function roundTripStep<Client>(
  { open, write }: EffectsScene<Client>,
  roundTrip: (client: Client) => Promise<unknown>,
): Step {
  const stores = once(open)
  return compare({
    work: 'what the inbox adds to a handler that writes once, p50',
    peer: 'a round trip',
    unit: 'ms',
    ours: async () => (await withInbox(await stores(), write)) - (await withoutInbox(await stores(), write)),
    raw: async () => (await stores()).transaction(({ client }) => p50(() => roundTrip(client))),
  })
}

interface RelayTarget {
  readonly bench: BrokerBench
  readonly close: () => Promise<void>
}

/** One broker for all rounds of a row. */
async function openTarget(kind: BrokerKind): Promise<RelayTarget> {
  const broker = await startBroker(kind)
  const bench = await brokerBench(kind, broker.url)
  const close = async () => {
    await bench[Symbol.asyncDispose]()
    await broker[Symbol.asyncDispose]()
  }
  return { bench, close }
}

function relayStep<Client>(scene: EffectsScene<Client>, kind: keyof typeof RELAYED, batchSize: number): Step {
  const work = `relay of the outbox to ${kind}, batches of ${batchSize}`
  const peer = 'publish in such batches'
  return {
    work: `${work}, vs ${peer}`,
    async run(bus) {
      const target = await openTarget(kind)
      try {
        const events = orderEvents(sized(RELAYED[kind]))
        const step = compare({
          work,
          peer,
          unit: 'events/s',
          ours: async () => relaying(await scene.open(), target.bench, events, batchSize),
          raw: async () => publishing(target.bench, events, batchSize),
        })
        return await step.run(bus)
      } finally {
        await target.close()
      }
    },
  }
}

async function publishing(
  bench: BrokerBench,
  events: readonly OrderCreated[],
  size: number,
): Promise<number> {
  await using scene = await bench.scene()
  await using publisher = await bench.ours.publisher(scene)
  return await inBatches(events, size, publisher)
}

/** Events per second of a relay that was down while the events were added. */
async function relaying<Client>(
  stores: Stores<Client>,
  bench: BrokerBench,
  events: readonly OrderCreated[],
  batchSize: number,
): Promise<number> {
  stores.outbox.registerEvents([OrderCreated])
  for (let start = 0; start < events.length; start += 1000)
    await stores.transaction((tx) => tx.outbox.add(events.slice(start, start + 1000)))
  await using scene = await bench.scene()
  await using publisher = await bench.ours.publisher(scene)
  // Our publisher is the bus itself.
  const bus = publisher as Pick<EventBus, 'publish'>
  await using manager = new SubscriptionManager({ eventStore: stores.outbox, logger: silent })
  manager.relay(bus, { name: 'bench', batchSize })
  return await rate(events.length, async () => {
    manager.start()
    await manager.whenCaughtUp('bench')
  })
}

async function p50(call: () => Promise<unknown> | unknown): Promise<number> {
  const times: number[] = []
  for (let round = 0; round < sized(HANDLED); round += 1) {
    const start = performance.now()
    await call()
    times.push(performance.now() - start)
  }
  return median(times)
}
