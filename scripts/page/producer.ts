// A process that publishes events at a rate: node producer.ts <url> <prefix> <rate> <seconds>. Prints how many.
import { setTimeout as wait } from 'node:timers/promises'
import { createEventBus } from '../../src/index.ts'
import { placed } from './system.ts'

const [url = '', prefix = '', rate = '', seconds = ''] = process.argv.slice(2)
const SLICE_MS = 20
const journal = url.startsWith('amqp') ? { rabbitmq: { journal: true } } : {}
const bus = createEventBus(url, { prefix, ...journal })
let sent = 0
const startedAt = performance.now()
while (performance.now() - startedAt < Number(seconds) * 1000) {
  const due = Math.floor(((performance.now() - startedAt) / 1000) * Number(rate)) - sent
  if (due > 0) await bus.publish(Array.from({ length: Math.min(due, 1000) }, (_, n) => placed(sent + n)))
  sent += Math.max(0, Math.min(due, 1000))
  await wait(SLICE_MS)
}
await bus.shutdown()
console.log(sent)
