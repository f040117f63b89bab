import { settledWithin } from '../../kit/time.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'

/** Messages that are read at once. */
const PAGE = 500
/** After this time without a message, in milliseconds, the broker is asked whether the queue is empty. */
const IDLE_MS = 100
/** Longest time without a message while the queue is not empty, in milliseconds. */
const MAX_IDLE_MS = 30_000

/**
 * Reads the messages that are in a queue at the start, oldest first, and acknowledges none of them. Each page has a
 * consumer of its own, whose prefetch is the size of the page: the next page is not sent before it is asked for.
 */
export async function* readPages(
  channel: AmqpChannel,
  queue: string,
): AsyncGenerator<readonly AmqpMessage[], void> {
  const { messageCount } = await channel.checkQueue(queue)
  for (let left = messageCount; left > 0; ) {
    const size = Math.min(PAGE, left)
    const page = await readPage(channel, queue, size)
    if (page.length > 0) yield page
    if (page.length < size) return
    left -= size
  }
}

async function readPage(channel: AmqpChannel, queue: string, size: number): Promise<readonly AmqpMessage[]> {
  const page: AmqpMessage[] = []
  const full = Promise.withResolvers<void>()
  let isEnded = false
  const end = () => {
    isEnded = true
    full.resolve()
  }
  channel.on('close', end)
  await channel.prefetch(size)
  const { consumerTag } = await channel.consume(queue, (message) => {
    if (message === null) return end()
    // A message that comes after the page is full stays unacknowledged, and so returns to the queue.
    if (page.length < size) page.push(message)
    if (page.length === size) end()
  })
  for (let idleSince = performance.now(), seen = 0; !isEnded; seen = page.length) {
    if (await settledWithin(full.promise, IDLE_MS)) break
    if (page.length > seen) idleSince = performance.now()
    else if ((await channel.checkQueue(queue)).messageCount === 0 && page.length === seen) break
    if (performance.now() - idleSince > MAX_IDLE_MS) throw new Error(`the queue ${queue} sends no messages`)
  }
  await channel.cancel(consumerTag)
  return page
}
