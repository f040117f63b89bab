/** A reply of alternating names and values as a map. */
export function readPairs(reply: unknown): ReadonlyMap<string, unknown> {
  const pairs = new Map<string, unknown>()
  if (!Array.isArray(reply)) return pairs
  for (let index = 0; index + 1 < reply.length; index += 2) pairs.set(String(reply[index]), reply[index + 1])
  return pairs
}

/** A hash. The client returns it as an object, or as alternating names and values. */
export function readHash(reply: unknown): ReadonlyMap<string, unknown> {
  if (Array.isArray(reply)) return readPairs(reply)
  return new Map(typeof reply === 'object' && reply !== null ? Object.entries(reply) : [])
}
