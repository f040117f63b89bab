import type { RedisClient } from '../client/client.ts'
import type { ResolvedRedisOptions } from '../options.ts'

/** Keys per page of a scan. */
const PAGE = '1000'

/** Deletes every key of the bus. The prefix is in all of them, and in no other. */
export async function removeKeys(
  { streamPrefix }: ResolvedRedisOptions,
  client: () => RedisClient,
): Promise<void> {
  const pattern = `*${streamPrefix.replace(/[\\*?[\]^-]/g, '\\$&')}*`
  let cursor = '0'
  do {
    // The command has two parts: where to continue, and keys.
    const [next, keys] = (await client().sendCommand(['SCAN', cursor, 'MATCH', pattern, 'COUNT', PAGE])) as [
      string | Buffer,
      readonly (string | Buffer)[],
    ]
    if (keys.length > 0) await client().sendCommand(['UNLINK', ...keys])
    cursor = String(next)
  } while (cursor !== '0')
}
