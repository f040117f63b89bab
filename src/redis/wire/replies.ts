/** A reply of alternating names and values as a map. */
export function readPairs(reply: unknown): ReadonlyMap<string, unknown> {
  const pairs = new Map<string, unknown>()
  if (!Array.isArray(reply)) return pairs
  for (let index = 0; index + 1 < reply.length; index += 2) pairs.set(String(reply[index]), reply[index + 1])
  return pairs
}
