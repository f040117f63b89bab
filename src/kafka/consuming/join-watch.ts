import type { KafkaCoordinator } from '../client/coordinator.ts'
import { CODE } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { beatUntil } from './heartbeats.ts'

/** How long a join may wait before it is reported, in milliseconds, and as a part of its longest duration. */
const SLOW_JOIN_MS = 10_000
const SLOW_PART = 1 / 10

/** Members that a report names at most. */
const NAMED_MEMBERS = 5

export interface JoinWatchParts {
  readonly options: ResolvedKafkaOptions
  readonly coordinator: KafkaCoordinator
  /** Sends a heartbeat on another connection than the join. @returns the code of the answer. */
  readonly beat: () => Promise<number>
  /** False until the first join is answered. */
  readonly isMember: boolean
  /** Called once if the join takes long, with the cause. */
  readonly onSlow: (detail: string) => void
}

/**
 * Watches a join, which the coordinator answers when all members have joined. Heartbeats on another connection check
 * meanwhile that the coordinator is alive and knows this member. If not, the join would wait in vain, so its connection is
 * cut. A member that joins for the first time has no generation yet, so its heartbeats only prove that it is known.
 */
export function watchJoin({ options, coordinator, beat, isMember, onSlow }: JoinWatchParts): Disposable {
  const done = new AbortController()
  const { signal } = done
  const beatOnce = async (): Promise<boolean> => {
    const code = await beat().catch(() => CODE.COORDINATOR_NOT_AVAILABLE)
    const isKnown = code === CODE.NONE || code === CODE.REBALANCE_IN_PROGRESS
    if (signal.aborted || isKnown || (!isMember && code === CODE.ILLEGAL_GENERATION)) return true
    await coordinator.cut('group')
    return false
  }
  void beatUntil(signal, { intervalMs: () => options.heartbeatIntervalMs, beat: beatOnce })
  const report = async () => {
    const members = await membersOf(coordinator, options.consumerGroup)
    if (!signal.aborted) onSlow(describeWait(options, members))
  }
  const slowMs = Math.min(SLOW_JOIN_MS, options.maxPollIntervalMs * SLOW_PART)
  const slow = setTimeout(() => void report(), slowMs).unref()
  return {
    [Symbol.dispose]: () => {
      clearTimeout(slow)
      done.abort()
    },
  }
}

function describeWait({ consumerGroup }: ResolvedKafkaOptions, members: readonly string[]): string {
  const named = members.slice(0, NAMED_MEMBERS).join(', ')
  const more = members.length > NAMED_MEMBERS ? `, and ${members.length - NAMED_MEMBERS} more` : ''
  return (
    `joining the group ${consumerGroup} waits for another member: the broker assigns no partition until each member has ` +
    'joined again, at most for the maxPollIntervalMs of the members. A member joins again when its running handlers have ' +
    `ended${named === '' ? '' : `; members: ${named}${more}`}`
  )
}

/** The members, by client and host; none if the broker does not list them. */
async function membersOf(coordinator: KafkaCoordinator, group: string): Promise<readonly string[]> {
  try {
    const { groups } = await coordinator.request(
      'commit',
      ({ describeGroups }) => {
        if (describeGroups === undefined) throw new Error('The broker does not describe groups.')
        return describeGroups
      },
      [[group], false],
    )
    return (groups[0]?.members ?? []).map(({ clientId, clientHost }) => `${clientId} (${clientHost})`)
  } catch {
    // The report is useful without them.
    return []
  }
}
