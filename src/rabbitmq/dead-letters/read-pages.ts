import { settledWithin } from '../../kit/time.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'

/** Messages that are read at once. */
const PAGE = 500
/** After this time without a message, in milliseconds, the broker is asked whether the queue is empty. */
const IDLE_MS = 100
/** Longest time without a message while the queue is not empty, in milliseconds. */
const MAX_IDLE_MS = 30_000

/** The messages that are in a queue. */
export interface OpenQueue {
  readonly count: number
  /** Oldest first. None of them is acknowledged. */
  readonly pages: AsyncIterable<readonly AmqpMessage[]>
}

/** Counts the messages in a queue, and takes the first of them. @throws if there is no such queue. */
export async function openQueue(channel: AmqpChannel, queue: string): Promise<OpenQueue> {
  // A missing queue is an error of its own here.
  await channel.checkQueue(queue)
  const first = await channel.get(queue)
  if (first === false) return { count: 0, pages: readPages(channel, queue, [], 0) }
  const others = first.fields.messageCount ?? 0
  return { count: 1 + others, pages: readPages(channel, queue, [first], others) }
}

/**
 * Each page has a consumer of its own, whose prefetch is the size of the page: the next page is not sent before it is asked
 * for.
 * @param taken - the messages of the first page that were read already.
 * @param others - number of messages behind them.
 */
async function* readPages(
  channel: AmqpChannel,
  queue: string,
  taken: readonly AmqpMessage[],
  others: number,
): AsyncGenerator<readonly AmqpMessage[], void> {
  const closed = Promise.withResolvers<void>()
  // Once for all pages: Node.js warns of many listeners.
  channel.on('close', closed.resolve)
  let [head, left] = [taken, others]
  while (head.length + left > 0) {
    const size = Math.min(PAGE - head.length, left)
    const page = size === 0 ? [] : await readPage(channel, queue, size, closed.promise)
    if (head.length + page.length > 0) yield [...head, ...page]
    if (page.length < size) return
    head = []
    left -= size
  }
}

/** True if no message of the queue is on its way to this channel, either. */
async function isEmpty(channel: AmqpChannel, queue: string): Promise<boolean> {
  // The broker can send the first answer before the messages that the queue has sent to this channel, but not the second.
  for (const _ of [1, 2]) if ((await channel.checkQueue(queue)).messageCount > 0) return false
  return true
}

async function readPage(
  channel: AmqpChannel,
  queue: string,
  size: number,
  closed: Promise<void>,
): Promise<readonly AmqpMessage[]> {
  const page: AmqpMessage[] = []
  const full = Promise.withResolvers<void>()
  let isEnded = false
  const end = () => {
    isEnded = true
    full.resolve()
  }
  void closed.then(end)
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
    else if ((await isEmpty(channel, queue)) && page.length === seen) break
    if (performance.now() - idleSince > MAX_IDLE_MS) throw new Error(`the queue ${queue} sends no messages`)
  }
  await channel.cancel(consumerTag)
  return page
}
