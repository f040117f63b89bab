const SEED = 0x9747b28c
const M = 0x5bd1e995
const R = 24

/** The hash of Kafka's Java client and of eventsource-py, as a signed 32-bit integer. */
export function murmur2(data: Uint8Array): number {
  const { length } = data
  const at = (index: number) => data[index] ?? 0
  let h = SEED ^ length
  let index = 0
  for (; index + 4 <= length; index += 4) {
    let k = at(index) | (at(index + 1) << 8) | (at(index + 2) << 16) | (at(index + 3) << 24)
    k = Math.imul(k, M)
    k ^= k >>> R
    h = Math.imul(h, M) ^ Math.imul(k, M)
  }
  const rest = length - index
  if (rest === 3) h ^= at(index + 2) << 16
  if (rest >= 2) h ^= at(index + 1) << 8
  if (rest >= 1) h = Math.imul(h ^ at(index), M)
  h ^= h >>> 13
  h = Math.imul(h, M)
  return h ^ (h >>> 15)
}

/** The partition of a key: the same as in Kafka's Java client and eventsource-py. */
export function partitionOf(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions
}
