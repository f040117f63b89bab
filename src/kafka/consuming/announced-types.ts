/** How long an announcement counts after its member has left the group, in milliseconds: it may come back. */
export const ANNOUNCED_MS = 600_000

export function writeTypes(types: readonly string[]): Buffer {
  return Buffer.from(JSON.stringify({ eventTypes: types }))
}

/** Other clients have other data, or none. */
export function readTypes(data: Buffer | null): readonly string[] {
  try {
    const value: unknown = JSON.parse(data?.toString() ?? '')
    const types = typeof value === 'object' && value !== null && 'eventTypes' in value ? value.eventTypes : []
    return Array.isArray(types) ? types.filter((type) => typeof type === 'string') : []
  } catch {
    return []
  }
}
