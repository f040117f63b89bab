/** `'up'`: all is well. `'degraded'`: it works, and somebody should look. `'down'`: it does not do its work now. */
export type HealthStatus = 'up' | 'degraded' | 'down'
