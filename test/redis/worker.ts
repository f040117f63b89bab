// A consumer that runs in its own process and prints `aggregateId n` for each event it has handled.
import { writeSync } from 'node:fs'
import { z } from 'zod'
import { defineEvent } from '../../src/index.ts'
import { RedisEventBus } from '../../src/redis/index.ts'

class Noted extends defineEvent({
  type: 'Noted',
  aggregateType: 'Note',
  schema: z.object({ n: z.number() }),
}) {}

const [redisUrl, streamPrefix] = process.argv.slice(2)
const bus = new RedisEventBus({
  ...(redisUrl === undefined ? {} : { redisUrl }),
  ...(streamPrefix === undefined ? {} : { streamPrefix }),
  pendingIdleMs: 1000,
  maxInFlight: 500,
})
bus.subscribe(Noted, async ({ aggregateId, n }) => {
  await Promise.resolve()
  writeSync(1, `${aggregateId} ${n}\n`)
})
process.on('SIGTERM', () => void bus.shutdown())
await bus.startConsuming()
