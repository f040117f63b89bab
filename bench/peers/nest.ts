// NestJS microservices over RabbitMQ and Kafka: the client publishes, the server consumes.
import { randomUUID } from 'node:crypto'
import { sized } from '../arguments.ts'
import type { Scene } from '../broker-bench.ts'
import { type OrderCreated, orderEvents } from '../order.ts'
import { Arrivals } from '../works/arrivals.ts'
import { inBatches } from '../works/publish.ts'
import type { BothEnds } from './both-ends.ts'

/** Importing by variables avoids loading the packages' types; the parts in use are declared below. */
const PACKAGE: string = '@nestjs/microservices'
const METADATA: string = 'reflect-metadata'
const COMMON: string = '@nestjs/common'

interface NestLibrary {
  readonly ClientRMQ: new (options: object) => NestClient
  readonly ServerRMQ: new (options: object) => NestServer
  readonly ClientKafka: new (options: object) => NestClient
  readonly ServerKafka: new (options: object) => NestServer
}

interface NestClient {
  connect(): Promise<unknown>
  emit(pattern: string, event: unknown): NestOutcome
  emitBatch(pattern: string, events: { readonly messages: readonly object[] }): NestOutcome
  close(): Promise<void> | void
}

/** The part of an observable that is used here. */
interface NestOutcome {
  subscribe(observer: { complete(): void; error(error: unknown): void }): unknown
}

interface NestServer {
  addHandler(pattern: string, handler: NestHandler, isEventHandler: boolean): void
  listen(callback: (error?: unknown) => void): unknown
  close(): Promise<void> | void
}

type NestHandler = (data: { readonly total: number }, context: NestContext) => Promise<void>

/** RabbitMQ's context. */
interface NestContext {
  getChannelRef(): { ack(message: object): void }
  getMessage(): object
}

async function load(): Promise<NestLibrary> {
  await import(METADATA)
  // NestJS logs on stdout, which is reserved for the benchmark's output.
  const { Logger } = (await import(COMMON)) as { Logger: { overrideLogger(isOn: false): void } }
  Logger.overrideLogger(false)
  // The package exports these names.
  return (await import(PACKAGE)) as NestLibrary
}

/** Messages are persistent and confirmed; the handler acknowledges them. */
export async function throughNestOnRabbitMq(url: string): Promise<BothEnds> {
  const { ClientRMQ, ServerRMQ } = await load()
  const queue = `bench-${randomUUID()}`
  const common = { urls: [url], queue, queueOptions: { durable: true, expires: 60_000 } }
  const client = new ClientRMQ({ ...common, persistent: true })
  const server = new ServerRMQ({ ...common, noAck: false, prefetchCount: 100 })
  return await bothEnds({
    count: sized(5000),
    pattern: 'OrderCreated',
    ...{ client, server },
    publish: (events) => Promise.all(events.map((event) => done(client.emit('OrderCreated', event)))),
    onHandled: (context) => context.getChannelRef().ack(context.getMessage()),
  })
}

/** Publishes with acks from all replicas; kafkajs commits after handling. */
export async function throughNestOnKafka(server: string, { name }: Scene): Promise<BothEnds> {
  const { ClientKafka, ServerKafka } = await load()
  const topic = `${name}.stream`
  const client = { brokers: [server], logLevel: 0 }
  const sender = new ClientKafka({ client, producerOnlyMode: true })
  const subscribe = { fromBeginning: true }
  return await bothEnds({
    count: sized(20_000),
    pattern: topic,
    client: sender,
    server: new ServerKafka({ client, consumer: { groupId: randomUUID() }, subscribe }),
    publish: (events) => done(sender.emitBatch(topic, { messages: events.map(messageOf) })),
    onHandled: () => undefined,
  })
}

function messageOf(event: OrderCreated): object {
  return { key: event.aggregateId, value: event }
}

interface NestWork {
  readonly count: number
  readonly pattern: string
  readonly client: NestClient
  readonly server: NestServer
  readonly publish: (events: readonly OrderCreated[]) => Promise<unknown>
  readonly onHandled: (context: NestContext) => void
}

async function bothEnds({ count, pattern, client, server, publish, onHandled }: NestWork): Promise<BothEnds> {
  const arrivals = new Arrivals(count)
  await client.connect()
  const published = await inBatches(orderEvents(count), 100, { publish })
  const handler: NestHandler = async (data, context) => {
    arrivals.note(data)
    onHandled(context)
  }
  server.addHandler(pattern, handler, true)
  const listening = Promise.withResolvers<void>()
  server.listen((error) => (error === undefined ? listening.resolve() : listening.reject(error)))
  await listening.promise
  const consume = await arrivals.whenAll
  await server.close()
  await client.close()
  return { publish: published, consume }
}

/** The observable of `emit` has already started; it completes with the broker's answer. */
function done(outcome: NestOutcome): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  outcome.subscribe({ complete: resolve, error: reject })
  return promise
}
