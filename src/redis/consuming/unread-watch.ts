import { counted } from '../../kit/counted.ts'
import type { TransportHost } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import { type GroupState, readStreamState, unreadRemoved } from '../client/stream-state.ts'
import type { ResolvedRedisOptions } from '../options.ts'

const NEVER_READ = '0-0'

/** Reports entries that were removed from the stream before the group read them, by trimming or by hand. */
export class RedisUnreadWatch {
  readonly #options: ResolvedRedisOptions
  readonly #host: TransportHost
  readonly #reported = new Map<string, number>()

  constructor(options: ResolvedRedisOptions, host: TransportHost) {
    this.#options = options
    this.#host = host
  }

  /** @param stream - one of the streams of events. */
  async check(client: RedisClient, stream: string): Promise<void> {
    const { consumerGroup } = this.#options
    const state = await readStreamState(client, stream)
    const group = state?.groups.find(({ name }) => name === consumerGroup)
    if (state === undefined || group === undefined) return
    const known = withKnownReads(group, state.groups)
    const count = known === undefined ? 0 : unreadRemoved(state.stream, known)
    // The count stays until the group reads its next entry.
    const reported = this.#reported.get(stream) ?? 0
    if (count > reported) {
      const detail = `${counted(count, 'entry was', 'entries were')} removed from ${stream} before the group ${consumerGroup} had read them`
      this.#host.notify({ type: 'eventsLost', detail, count: count - reported })
    }
    this.#reported.set(stream, count)
  }
}

/**
 * A new group has read nothing. Entries that were removed before it existed are lost only if no other group existed to read
 * them.
 */
function withKnownReads(group: GroupState, groups: readonly GroupState[]): GroupState | undefined {
  if (group.lastDeliveredId !== NEVER_READ) return group
  return groups.length === 1 ? { ...group, entriesRead: 0 } : undefined
}
