/** Failures in a row that a consumer does not report, because a broker that restarts causes a few. */
export const QUIET_FAILURES = 3
