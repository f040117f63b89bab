import { toError } from '../../errors.ts'
import type { TransportHost } from '../../transport/transport.ts'
import type { RedisLink } from '../client/link.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import type { RedisGroup } from './group.ts'

export interface GroupRepairParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  readonly group: RedisGroup
  readonly host: TransportHost
}

/**
 * Recreates the group after the stream or the group vanished: deleted, flushed, or missing on the replica of a
 * failover. Reports what it recreated, or why it failed.
 * @returns false if it failed.
 */
export async function repairGroup({ options, commands, group, host }: GroupRepairParts): Promise<boolean> {
  try {
    const created = await group.declare(commands.requireClient(), 'earliest')
    if (created.length > 0) {
      const what = `consumer group ${options.consumerGroup} of ${created.join(', ')}`
      host.notify({ type: 'topologyRestored', what })
    }
    return true
  } catch (thrown) {
    host.notify({ type: 'readFailed', error: toError(thrown) })
    return false
  }
}
