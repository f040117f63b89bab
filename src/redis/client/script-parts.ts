/**
 * Each script is one atomic step, and applies only to entries that this consumer still owns. They are
 * sent whole with EVAL, which does not depend on the script cache of the server. Redis does not roll a script
 * back, so a script first runs the commands that the server may refuse: a command on the id 0-0 has no effect, but
 * needs the same permission.
 */

/** A function that is true while the consumer owns the entry. */
export const OWNED = `
local function owned(stream, group, id, consumer)
  local pending = redis.call('XPENDING', stream, group, id, id, 1)
  return #pending == 1 and pending[1][2] == consumer
end
`

/**
 * The first key and arguments of a script that settles or claims: the leases of the group, the partition, and the fence of
 * this consumer, which is empty if the group has no leases. Returns -1, without effect, if the partition belongs to another
 * consumer.
 */
export const FENCED = `
local leases = table.remove(KEYS, 1)
local partition, fence = table.remove(ARGV, 1), table.remove(ARGV, 1)
if fence ~= '' and redis.call('HGET', leases, partition) ~= fence then return -1 end
`

/**
 * Most names and values that a script copies. With the added fields they stay below the limit of Lua's `unpack`, 8,000.
 */
export const MAX_UNPACKED = 7000

/** The time of the server, in milliseconds. */
export const NOW = `
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`
