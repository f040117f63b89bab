import type { Problem } from '../transport/checkup.ts'

/** What one check of `bus.admin.diagnose()` has found. */
export interface Finding extends Problem {
  /** Identifies the check, such as `connection` or `redis-eviction`. */
  readonly check: string
}
