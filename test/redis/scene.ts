import { randomUUID } from 'node:crypto'
import { createClient } from 'redis'
import { inject, onTestFinished } from 'vitest'
import { z } from 'zod'
import { defineEvent, type Logger } from '../../src/index.ts'
import { RedisEventBus, type RedisEventBusOptions } from '../../src/redis/index.ts'

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

/** A plain client beside the library; closed when the test ends. */
export async function connectClient(url: string = inject('redisUrl')) {
  const client = createClient({ url, RESP: 2 })
  client.on('error', () => undefined)
  await client.connect()
  onTestFinished(() => client.destroy())
  return client
}

/** A fresh name for a test's keys. */
export function freshPrefix(): string {
  return `test-${randomUUID().slice(0, 8)}`
}

/** A bus with short times, shut down when the test ends. */
export function createBus(options: RedisEventBusOptions = {}): RedisEventBus {
  const bus = new RedisEventBus({
    redisUrl: inject('redisUrl'),
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
