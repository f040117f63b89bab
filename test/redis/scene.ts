import { randomUUID } from 'node:crypto'
import { createClient } from 'redis'
import { inject, onTestFinished } from 'vitest'
import { z } from 'zod'
import { defineEvent, type Logger } from '../../src/index.ts'
import { RedisEventBus, type RedisEventBusOptions } from '../../src/redis/index.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

/** The event that these tests publish. */
export class Noted extends defineEvent({
  type: 'Noted',
  aggregateType: 'Note',
  schema: z.object({ n: z.number().int() }),
}) {}

/** Events `from` to `to - 1` of one aggregate. */
export function notes(aggregateId: string, to: number, from = 0): readonly Noted[] {
  return Array.from({ length: to - from }, (_, index) => new Noted({ aggregateId, n: from + index }))
}

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly fields: object
}

/** A logger that keeps its lines. */
export function memoryLogger(): Logger & { readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = []
  const at =
    (level: string) =>
    (message: string, fields: object = {}) => {
      lines.push({ level, message, fields })
    }
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** A client independent of the library; closed when the test ends. */
export async function connectClient(url: string = inject('redisUrl')) {
  const client = createClient({ url, RESP: 2 })
  client.on('error', () => undefined)
  await client.connect()
  onTestFinished(() => client.destroy())
  return client
}

/** A prefix for the keys of one test. */
export function freshPrefix(): string {
  return `test-${randomUUID().slice(0, 8)}`
}

/** A bus with short intervals, shut down when the test ends. */
export function createBus(options: RedisEventBusOptions = {}): RedisEventBus {
  const bus = new RedisEventBus({
    ...(options.client === undefined ? { redisUrl: inject('redisUrl') } : {}),
    streamPrefix: freshPrefix(),
    retryBaseDelayMs: 10,
    retryMaxDelayMs: 50,
    pendingIdleMs: 600,
    blockMs: 500,
    shutdownTimeoutMs: 5000,
    logger: memoryLogger(),
    ...options,
  })
  onTestFinished(() => bus.shutdown({ timeoutMs: 2000 }))
  return bus
}

/** Starts a bus and waits until it consumes. */
export async function consume(bus: RedisEventBus): Promise<RedisEventBus> {
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  return bus
}

/** A consuming bus, with the events it has seen, its notices and its log. */
export async function consumingBus(redisUrl: string, options: RedisEventBusOptions = {}) {
  const logger = memoryLogger()
  const bus = createBus({ redisUrl, streamPrefix: freshPrefix(), logger, ...options })
  const seen: number[] = []
  const notices: string[] = []
  bus.subscribe(Noted, ({ n }) => seen.push(n), { name: 'notes' })
  bus.onNotice((notice) =>
    notices.push('error' in notice ? `${notice.type} ${notice.error.message}` : notice.type),
  )
  await consume(bus)
  return { bus, seen, notices, logger }
}

/** A Redis server of the test's own, with these lines in its configuration. */
export async function launchRedis(...config: string[]) {
  const broker = await launchBroker('redis', { config })
  onTestFinished(() => broker.dispose())
  return broker
}

/** A proxy in front of the shared server. */
export async function startProxy() {
  const { port } = new URL(inject('redisUrl'))
  const broker = { host: '127.0.0.1', port: Number(port) }
  const proxy = await TcpProxy.start(broker)
  onTestFinished(() => proxy.close())
  return { proxy, broker, redisUrl: `redis://127.0.0.1:${proxy.port}` }
}

/** A network without loss in which every chunk takes this long, for `TcpProxy.degrade`. */
export const withLatency = (latencyMs: number) => ({
  latencyMs,
  bytesPerSecond: 1e6,
  chunksPerReset: Number.POSITIVE_INFINITY,
})

/** The error that a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('expected a rejection with an Error')
}
