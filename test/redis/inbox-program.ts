// Handles one event with the inbox and prints `running`. Its handler never returns.
import { writeSync } from 'node:fs'
import { createClient } from 'redis'
import { GenericEvent } from '../../src/index.ts'
import { RedisInbox } from '../../src/redis/index.ts'

const [url = '', keyPrefix = '', eventId = ''] = process.argv.slice(2)
const client = createClient({ url })
await client.connect()
const inbox = new RedisInbox({ client, keyPrefix, lockMs: 500 })
const handler = inbox.once('handler', async (_event, { tx }) => {
  tx.add(['RPUSH', `${keyPrefix}:list`, 1])
  writeSync(1, 'running\n')
  await new Promise(() => undefined)
})
const event = new GenericEvent({
  eventType: 'Any',
  aggregateType: 'Any',
  aggregateId: 'a',
  data: {},
  eventId,
})
const signal = new AbortController().signal
await handler.handle(event, {
  ...{ signal, attempt: 1, deliveryCount: 1, consumerGroup: undefined, messageId: undefined },
})
