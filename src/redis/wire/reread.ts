import { AS_BUFFERS, type RedisClient } from '../client/client.ts'
import { readEntries, type StreamEntry } from './entry.ts'

/** Reads the entry again with its fields as bytes. @returns the given entry if it no longer exists. */
export async function rereadAsBytes(
  client: RedisClient,
  stream: string,
  entry: StreamEntry,
): Promise<StreamEntry> {
  const reply = await client.sendCommand(['XRANGE', stream, entry.id, entry.id], AS_BUFFERS)
  return readEntries(reply)[0] ?? entry
}
