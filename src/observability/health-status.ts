/**
 * `'up'`: it works without problems. `'degraded'`: it works, but needs attention. `'down'`: it does not work at the
 * moment.
 */
export type HealthStatus = 'up' | 'degraded' | 'down'

/** The worst of several statuses; `'up'` if there is none. */
export function worst(statuses: readonly HealthStatus[]): HealthStatus {
  if (statuses.includes('down')) return 'down'
  return statuses.includes('degraded') ? 'degraded' : 'up'
}
