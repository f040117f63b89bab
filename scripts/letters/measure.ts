import { monitorEventLoopDelay } from 'node:perf_hooks'
import { type AnyEventBus, BrokerEventBus } from '../../src/index.ts'

/** Steps that missed their bar. */
export const missed: string[] = []

export function isBrokerBus(bus: AnyEventBus): BrokerEventBus {
  if (bus instanceof BrokerEventBus) return bus
  throw new TypeError('The URL is one of a broker.')
}

/** The event loop may be held for this long, in milliseconds. */
const MAX_BLOCKED_MS = 50

/**
 * Runs a step, and prints how long it took, and the longest time that it kept the event loop busy.
 * @param barMs - the longest time that the step may take; undefined if it has no bar.
 */
export async function step<T>(name: string, barMs: number | undefined, action: () => Promise<T>): Promise<T> {
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const startedAt = performance.now()
  const result = await action()
  const ms = Math.round(performance.now() - startedAt)
  delay.disable()
  const maxBlockedMs = Math.round(delay.max / 1e6)
  const shown = typeof result === 'number' ? { result } : {}
  report(name, { ms, barMs, maxBlockedMs, ...shown }, barMs === undefined || ms <= barMs)
  if (barMs !== undefined && maxBlockedMs > MAX_BLOCKED_MS) missed.push(`${name}: event loop held`)
  return result
}

/** Prints a line of JSON. */
export function report(name: string, values: object, isKept: boolean): void {
  const rssMB = Math.round(process.memoryUsage.rss() / 1024 / 1024)
  if (!isKept) missed.push(name)
  console.log(JSON.stringify({ step: name, ...values, rssMB, ...(isKept ? {} : { missed: true }) }))
}
