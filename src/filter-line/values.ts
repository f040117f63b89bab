import { UsageError } from './usage-error.ts'

/** Reads the text of an option. @throws UsageError */
export type ValueReader<T> = (text: string) => T

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

export const text: ValueReader<string> = (given) => given

/** A whole number of at least `min`. */
export function integer(min = 1): ValueReader<number> {
  return (given) => {
    const value = Number(given)
    if (/^\d{1,15}$/.test(given) && value >= min) return value
    throw new UsageError(`must be a whole number of at least ${min}, got ${JSON.stringify(given)}`)
  }
}

/** A duration such as `30d`, `2h` or `500ms`, in milliseconds. */
export const duration: ValueReader<number> = (given) => {
  const [, amount, unit = ''] = /^(\d{1,12})(ms|s|m|min|h|d)$/.exec(given) ?? []
  if (amount !== undefined) return Number(amount) * (UNITS[unit] ?? 1)
  throw new UsageError(`must be a duration such as 30d, 2h, 15m, 10s or 500ms, got ${JSON.stringify(given)}`)
}

/** A time: ISO 8601, `now`, or a duration before now such as `2h`. */
export const time: ValueReader<Date> = (given) => {
  if (given === 'now') return new Date()
  const isAge = /^\d{1,12}(?:ms|s|m|min|h|d)$/.test(given)
  const value = isAge ? new Date(Date.now() - duration(given)) : new Date(given)
  if ((isAge || /^\d{4}-/.test(given)) && !Number.isNaN(value.getTime())) return value
  throw new UsageError(
    `must be a time such as 2026-03-01T14:00Z, now, or 2h for two hours ago, got ${JSON.stringify(given)}`,
  )
}

/** A place in the log: a time, `first`, `last`, or the position of an event. */
export function place(given: string): Date | string {
  try {
    return time(given)
  } catch (thrown) {
    if (thrown instanceof UsageError) return given
    throw thrown
  }
}

/** A rate such as `50/s` or `50`, per second. */
export const rate: ValueReader<number> = (given) => {
  const [, amount] = /^(\d{1,9}(?:\.\d{1,3})?)(?:\/s)?$/.exec(given) ?? []
  if (Number(amount) > 0) return Number(amount)
  throw new UsageError(`must be a number per second such as 50/s, got ${JSON.stringify(given)}`)
}

export function oneOf<const T extends string>(...choices: readonly T[]): ValueReader<T> {
  return (given) => {
    const found = choices.find((choice) => choice === given)
    if (found !== undefined) return found
    throw new UsageError(`must be ${choices.join(' or ')}, got ${JSON.stringify(given)}`)
  }
}

/** How long ago a time was, in its largest unit: `12 min`. */
export function ageOf(at: Date): string {
  const seconds = Math.max(0, (Date.now() - at.getTime()) / 1000)
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`
}
