import { toError } from '../errors.ts'
import type { TakeTurn } from '../handling/group-rate.ts'
import type { Logger } from '../observability/logger.ts'
import type { Transport } from '../transport/transport.ts'
import type { BusCounters } from './telemetry/bus-counters.ts'

/** Wait before a turn is asked for again after a failure, in milliseconds. */
const RETRY_MS = 250

export interface GroupTurnsParts {
  readonly transport: Pick<Transport, 'rates' | 'system'>
  readonly broadcast: boolean
  readonly counters: BusCounters
  readonly logger: Logger
}

/** Takes turns from the rates of the group. @returns the reason if its members cannot share a rate. */
export function groupTurns({ transport, broadcast, counters, logger }: GroupTurnsParts): TakeTurn | string {
  const { rates, system } = transport
  if (broadcast) return 'with broadcast, each process is a group of its own; use ratePerSecond'
  if (rates === undefined) return `the members of a group on ${system} cannot share a rate; use ratePerSecond`
  return async (handlerName, ratePerSecond) => {
    try {
      return await rates.take(handlerName, ratePerSecond)
    } catch (thrown) {
      const error = toError(thrown)
      counters.failed(error)
      logger.warn('asking for a turn of the group failed, retrying', { handlerName, error })
      return RETRY_MS
    }
  }
}
