import type { ConsumerLifecycle } from './consuming/consumer-lifecycle.ts'
import type { FirstConnection } from './first-connection.ts'
import type { HealthFacts } from './health.ts'
import type { BrokerProbe } from './telemetry/broker-probe.ts'
import { type BusCounters, timeOf } from './telemetry/bus-counters.ts'

export interface BrokerHealthParts {
  readonly probe: BrokerProbe
  readonly counters: BusCounters
  readonly consumer: ConsumerLifecycle
  readonly connection: FirstConnection
}

/**
 * Collects the facts for the health report of a broker bus. Queries the broker if the bus is connected.
 * @param bus - read before and after the query.
 */
export async function brokerHealthFacts(
  bus: { readonly isShutdown: boolean; readonly isConnected: boolean },
  { probe, counters, consumer, connection }: BrokerHealthParts,
  timeoutMs: number,
): Promise<HealthFacts> {
  const { isShutdown, isConnected } = bus
  const [lag, deadLetters, waiting, oldestWaitingMs] =
    isConnected && !isShutdown
      ? await Promise.all([
          probe.askLag(timeoutMs),
          probe.askDeadLetters(timeoutMs),
          probe.askWaiting(timeoutMs),
          probe.askOldestWaiting(timeoutMs),
        ])
      : []
  const { blockedReason, lastError, lastErrorAt } = counters
  const { isFlowing, idleReason, oldestTakenAt } = consumer
  return {
    isShutdown,
    // The connection may have been lost during the query.
    isConnected: isConnected && bus.isConnected,
    wasConnected: connection.isDone,
    isConsuming: isFlowing,
    idleReason: idleReason ?? pauseReason(counters) ?? lineReason(counters),
    blockedReason,
    lastError,
    lastErrorAt: timeOf(lastErrorAt),
    oldestUnsettledMs: oldestTakenAt === undefined ? 0 : Math.max(0, performance.now() - oldestTakenAt),
    lag,
    deadLetters,
    waiting,
    oldestWaitingMs,
  }
}

/** For how long a long line counts after an event has joined it, in milliseconds. */
const LONG_LINE_MS = 600_000

function lineReason({ longLines }: BusCounters): string | undefined {
  const recent = [...longLines.values()].filter(({ seenAt }) => performance.now() - seenAt < LONG_LINE_MS)
  if (recent.length === 0) return undefined
  const handlers = new Set(recent.map(({ handlerName }) => handlerName))
  return `many events of ${recent.length} aggregates wait behind another one: ${[...handlers].join(', ')}`
}

function pauseReason({ pausedHandlers }: BusCounters): string | undefined {
  if (pausedHandlers.size === 0) return undefined
  return `paused because their events fail: ${[...pausedHandlers].join(', ')}`
}
