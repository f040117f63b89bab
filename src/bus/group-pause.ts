import type { GroupPause } from '../transport/control.ts'

/** The pause of a group, as the broker keeps it. */
export function writePause({ at, by, why }: GroupPause): string {
  return JSON.stringify({
    version: 1,
    pause: { at: at.toISOString(), by, ...(why !== undefined && { why }) },
  })
}

/** @returns undefined if the group is not paused. It is paused if there is a text that cannot be read. */
export function readPause(text: string | undefined): GroupPause | undefined {
  if (text === undefined) return undefined
  const value = parsed(text)
  const { pause } = value === undefined ? { pause: {} } : fieldsOf(value)
  if (typeof pause !== 'object' || pause === null) return undefined
  const { at, by, why } = fieldsOf(pause)
  const time = new Date(typeof at === 'string' ? at : Number.NaN)
  return {
    at: Number.isNaN(time.getTime()) ? new Date(0) : time,
    by: typeof by === 'string' ? by : 'unknown',
    why: typeof why === 'string' ? why : undefined,
  }
}

/** For the health report, such as `paused by ada since 2026-11-28T21:00:00.000Z: OPS-12`. */
export function describePause({ at, by, why }: GroupPause): string {
  return `paused by ${by} since ${at.toISOString()}${why === undefined ? '' : `: ${why}`}`
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}
