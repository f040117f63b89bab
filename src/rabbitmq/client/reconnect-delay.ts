export interface ReconnectDelays {
  readonly reconnectDelayMs: number
  readonly maxReconnectDelayMs: number
}

/**
 * Milliseconds to wait before the next attempt to reconnect: a tenth of the outage so far, which is soon after a short
 * one and no storm in a long one. Chance takes off up to half, so that the buses of many processes spread.
 *
 * @param random - from 0 up to 1.
 */
export function reconnectDelay(
  { reconnectDelayMs, maxReconnectDelayMs }: ReconnectDelays,
  outageMs: number,
  random: number,
): number {
  const longest = Math.min(Math.max(reconnectDelayMs, maxReconnectDelayMs), outageMs / 10)
  return Math.max(reconnectDelayMs, longest) * (1 - random / 2)
}
