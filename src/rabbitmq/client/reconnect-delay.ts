export interface ReconnectDelays {
  readonly reconnectDelayMs: number
  readonly maxReconnectDelayMs: number
}

/**
 * Milliseconds to wait before the next attempt to reconnect: a tenth of the outage so far. Reconnecting is quick after
 * a short outage, and during a long one many processes do not overload the broker. Jitter shortens the wait by up to
 * half.
 *
 * @param random - from 0 up to 1.
 */
export function reconnectDelay(
  { reconnectDelayMs, maxReconnectDelayMs }: ReconnectDelays,
  outageMs: number,
  random: number,
): number {
  const grown = Math.min(Math.max(reconnectDelayMs, maxReconnectDelayMs), outageMs / 10)
  return Math.max(reconnectDelayMs, grown) * (1 - random / 2)
}
