// A consumer in its own process. It writes `aggregateId eventId` when it starts to handle an event.
import { writeSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { KafkaEventBus, type KafkaEventBusOptions } from '../../src/kafka/index.ts'
import { OrderCreated } from '../support/order-events.ts'

/** Configuration that a test passes to this process. */
export interface WorkerOptions {
  readonly bus: KafkaEventBusOptions
  /** Events of this aggregate block the event loop for `blockMs`. */
  readonly blockAt?: string
  readonly blockMs?: number
}

// The test wrote it.
const { bus: options, blockAt, blockMs = 0 } = JSON.parse(process.argv[2] ?? '{}') as WorkerOptions
const bus = new KafkaEventBus(options)
bus.subscribe(OrderCreated, async ({ aggregateId, eventId }) => {
  writeSync(1, `${aggregateId} ${eventId}\n`)
  if (aggregateId === blockAt) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, blockMs)
  await setImmediate()
})
process.on('SIGTERM', () => void bus.shutdown())
await bus.startConsuming()
