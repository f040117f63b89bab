import { AS_BUFFERS, type RedisClient } from '../client/client.ts'
import { readEntries, type StreamEntry } from './entry.ts'

/** The entry with its fields as bytes; as it was where it is no longer there. */
export async function rereadAsBytes(
  client: RedisClient,
  stream: string,
  entry: StreamEntry,
): Promise<StreamEntry> {
  const reply = await client.sendCommand(['XRANGE', stream, entry.id, entry.id], AS_BUFFERS)
  return readEntries(reply)[0] ?? entry
}
