// A consumer in its own process. It appends `name aggregateId n` to a list on the server when its handler starts.
import { setTimeout as delay } from 'node:timers/promises'
import { createClient } from 'redis'
import { z } from 'zod'
import { defineEvent } from '../../src/index.ts'
import { RedisEventBus, type RedisEventBusOptions } from '../../src/redis/index.ts'

class Noted extends defineEvent({
  type: 'Noted',
  aggregateType: 'Note',
  schema: z.object({ n: z.number() }),
}) {}

// The test that starts this program writes the argument.
const { handlerMs, log, ...options } = JSON.parse(process.argv[2] ?? '{}') as RedisEventBusOptions & {
  readonly redisUrl: string
  readonly consumerName: string
  readonly handlerMs: number
  readonly log: string
}
const client = createClient({ url: options.redisUrl })
await client.connect()
const bus = new RedisEventBus(options)
let handled = 0
bus.subscribe(Noted, async ({ aggregateId, n }) => {
  await client.rPush(log, `${options.consumerName} ${aggregateId} ${n}`)
  await delay(handlerMs)
  handled += 1
  if (options.consumerName === 'blocked' && handled === 20) blockFor(4000)
})
/** Blocks the event loop. */
function blockFor(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

process.on('SIGTERM', () => void bus.shutdown().then(() => client.destroy()))
await bus.startConsuming()
