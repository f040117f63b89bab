import { connectClient, createBus, freshPrefix, notes } from '../scene.ts'

/** A stream of this many events that the group `default` has not read. @returns its prefix. */
export async function publishedStream(count: number): Promise<string> {
  const streamPrefix = freshPrefix()
  const publisher = createBus({ streamPrefix })
  await publisher.publish(notes('a', count))
  const client = await connectClient()
  await client.sendCommand(['XGROUP', 'CREATE', `${streamPrefix}:stream`, 'default', '0'])
  return streamPrefix
}

/** Reads entries as another consumer that crashes before it acknowledges them. */
export async function readAndDie(streamPrefix: string, consumer: string, count: number): Promise<void> {
  const client = await connectClient()
  const key = `${streamPrefix}:stream`
  await client.sendCommand([
    'XREADGROUP',
    'GROUP',
    'default',
    consumer,
    'COUNT',
    String(count),
    'STREAMS',
    key,
    '>',
  ])
}
