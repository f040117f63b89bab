import { setTimeout as delay } from 'node:timers/promises'
import { counted } from '../../kit/counted.ts'
import { GroupStillRunningError } from '../errors.ts'
import type { ConsumerInfo } from '../presence/report.ts'

/** Interval between two looks, in milliseconds. */
const POLL_MS = 250

export interface HaltSources {
  readonly group: string
  readonly waitMs: number
  /** The consumers of the group that report themselves. */
  readonly consumers: () => Promise<readonly ConsumerInfo[]>
  readonly countMembers: () => Promise<number>
  /** True if paused consumers stay members. */
  readonly staysInGroup: boolean
}

/**
 * Waits until no handler of a paused group runs.
 * @throws GroupStillRunningError if some do after `waitMs`.
 */
export async function awaitHalt(sources: HaltSources): Promise<void> {
  const { group, waitMs } = sources
  const until = performance.now() + waitMs
  for (;;) {
    const obstacles = await obstaclesOf(sources)
    if (obstacles.length === 0) return
    const leftMs = until - performance.now()
    if (leftMs <= 0) throw new GroupStillRunningError(group, waitMs, obstacles)
    await delay(Math.min(POLL_MS, leftMs))
  }
}

async function obstaclesOf({
  consumers,
  countMembers,
  staysInGroup,
}: HaltSources): Promise<readonly string[]> {
  // An instance with `broadcast` has a group of its own.
  const reporting = (await consumers()).filter(({ broadcast }) => !broadcast)
  const obstacles = reporting.filter(({ paused, running }) => !paused || running > 0).map(describe)
  if (obstacles.length > 0) return obstacles
  const silent = (await countMembers()) - (staysInGroup ? reporting.length : 0)
  return silent > 0
    ? [`${silent} of its members ${silent === 1 ? 'does not report itself' : 'do not report themselves'}`]
    : []
}

function describe({ name, host, pid, paused, running, oldestInFlightMs, lastSeenAt }: ConsumerInfo): string {
  const seenS = Math.max(0, Math.round((Date.now() - lastSeenAt.getTime()) / 1000))
  const age =
    oldestInFlightMs === undefined ? '' : `, the oldest for ${Math.round(oldestInFlightMs / 1000)} s`
  const state = paused ? `handles ${counted(running, 'event')}${age}` : 'has not noticed the pause'
  return `${name} (host ${host}, process ${pid}) ${state}, as it reported ${seenS} s ago`
}
