import type { RedisArgument, RedisClient } from './client.ts'
import type { StreamLease } from './consumed-stream.ts'
import { DEAD_LETTER, PARK, PASS_ON, REMOVE_PARKED, REPLAY, STALE_PARKED } from './dead-letter-scripts.ts'
import { BEAT, EVICT, GIVE_UP, LEAVE } from './member-scripts.ts'
import { FENCED, MAX_UNPACKED, NOW, OWNED } from './script-parts.ts'

/**
 * KEYS: stream; ARGV: group, consumer, ids. Renews the leases of entries that the consumer owns; returns the other ids.
 */
const RENEW = `${FENCED}${OWNED}
local lost = {}
for i = 3, #ARGV do
  if owned(KEYS[1], ARGV[1], ARGV[i], ARGV[2]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost`

/**
 * KEYS: stream, retry key; ARGV: group, consumer, id, attempt, state, expiry. Stores the number of an attempt as the
 * delivery count, and the retry state. Returns 0 if the consumer does not own the entry.
 */
const RECORD_ATTEMPT = `${FENCED}${OWNED}
if not owned(KEYS[1], ARGV[1], ARGV[3], ARGV[2]) then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', ARGV[4], 'JUSTID')
redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[6])
return 1`

/** KEYS: stream; ARGV: group, consumer, idle, then pairs of id and attempts. Makes entries claimable at once. */
const RELEASE = `${FENCED}${OWNED}
for i = 4, #ARGV, 2 do
  if owned(KEYS[1], ARGV[1], ARGV[i], ARGV[2]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[3], 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
  end
end
return 1`

/** KEYS: stream, retry keys; ARGV: group, 1 to delete the entries, ids. Acknowledges. */
const ACKNOWLEDGE = `${FENCED}
local deletes = ARGV[2] == '1'
for from = 3, #ARGV, 1000 do
  local to = math.min(#ARGV, from + 999)
  redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, from, to))
  if deletes then redis.call('XDEL', KEYS[1], unpack(ARGV, from, to)) end
end
for i = 2, #KEYS do redis.pcall('UNLINK', KEYS[i]) end
return 1`

/**
 * KEYS: stream, departed; ARGV: group, consumer, the departed consumer or '', then pairs of id and attempts. Claims entries,
 * those of the departed consumer only if it has not come back. An entry that was released before its first attempt has the
 * delivery count 0, and gets 1. Returns the ids that were claimed.
 */
const CLAIM = `${FENCED}${OWNED}
local claimed = {}
if ARGV[3] ~= '' and redis.call('SISMEMBER', KEYS[2], ARGV[3]) == 0 then return claimed end
for i = 4, #ARGV, 2 do
  if ARGV[3] == '' or owned(KEYS[1], ARGV[1], ARGV[i], ARGV[3]) then
    local ids
    if ARGV[i + 1] == '0' then
      ids = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'RETRYCOUNT', 1, 'JUSTID')
    else
      ids = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    end
    if #ids == 1 then claimed[#claimed + 1] = ids[1] end
  end
end
return claimed`

/**
 * Stores when an entry is due, and since when it waits. With a mode, it has a place in an order, and only the first of an
 * order becomes due. Returns 1, or in the modes `behind` and `again` a list with the number of entries before it.
 */
const PLACE_IN_ORDER = `${NOW}
local function place(due, order, waits, member, delay, since, mode, isNew)
  local at = string.format('%.0f', now() + delay)
  local before = 0
  if mode ~= '' then
    before = not isNew and redis.call('LPOS', order, member) or redis.call('RPUSH', order, member) - 1
    if before > 0 then at = '+inf' end
  end
  redis.call('ZADD', due, at, member)
  redis.call('ZADD', waits, since, member)
  if mode == 'behind' or mode == 'again' then return {before} end
  return 1
end
`

/**
 * KEYS: stream, due times, key of the copy, order, starts of the waits; ARGV: group, consumer, id, member, delay, header
 * name, header value, mode, limit, start of the wait. Copies an entry to a key of its own, with this header, and stores when it is due. Returns 0 if the consumer does
 * not own the entry, 2, without effect, if the script cannot copy the entry, and 3, without effect, in the mode `behind`
 * if the order is empty, and in the mode `again`, for a replayed dead letter, if none is before it. Otherwise, in these
 * modes, returns a list with the number of entries before it. With `limit` entries in the order, `behind` has no effect.
 */
const POSTPONE = `${FENCED}${OWNED}${PLACE_IN_ORDER}
if not owned(KEYS[1], ARGV[1], ARGV[3], ARGV[2]) then return 0 end
if ARGV[8] == 'behind' then
  local length = redis.call('LLEN', KEYS[4])
  if length == 0 then return 3 end
  local at = redis.call('LPOS', KEYS[4], ARGV[4])
  if at then return {math.max(at, 1)} end
  if length >= tonumber(ARGV[9]) then return {length} end
elseif ARGV[8] == 'again' then
  if (redis.call('LPOS', KEYS[4], ARGV[4]) or 0) == 0 then return 3 end
end
local entries = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])
if #entries == 0 or #entries[1][2] > ${MAX_UNPACKED} then return 2 end
local fields = {}
local all = entries[1][2]
for i = 1, #all, 2 do
  if all[i] ~= ARGV[6] then
    fields[#fields + 1] = all[i]
    fields[#fields + 1] = all[i + 1]
  end
end
fields[#fields + 1] = ARGV[6]
fields[#fields + 1] = ARGV[7]
redis.call('UNLINK', KEYS[3])
redis.call('XADD', KEYS[3], '*', unpack(fields))
return place(KEYS[2], KEYS[4], KEYS[5], ARGV[4], ARGV[5], ARGV[10], ARGV[8], ARGV[8] == 'behind')`

/** KEYS: due times, order, starts of the waits; ARGV: member, delay, start of the wait, mode. Stores when a copied entry is due. */
const SET_DUE = `${PLACE_IN_ORDER}
return place(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4])`

/**
 * KEYS: due times; ARGV: maximum number. Returns how long the next entry has to wait, in milliseconds, or an empty string
 * if none waits; then the members that are due, in the order of their times.
 */
const NEXT_DUE = `${NOW}
local at = now()
local reply = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', at, 'LIMIT', 0, ARGV[1])
local later = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', at), '(+inf', 'WITHSCORES', 'LIMIT', 0, 1)
table.insert(reply, 1, later[2] and string.format('%.0f', later[2] - at) or '')
return reply`

/**
 * KEYS: due times, key of the copy, replays, starts of the waits; ARGV: member. Moves an entry that is due to the replay stream. Returns 0 if
 * it is not due or was moved before, 2 if the script cannot copy it, and \`lost\` if its key is gone.
 */
const RELEASE_WAITING = `${NOW}
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due or tonumber(due) > now() then return 0 end
local entries = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
if #entries > 0 and #entries[1][2] > ${MAX_UNPACKED} then return 2 end
redis.call('ZREM', KEYS[1], '')
if #entries > 0 then redis.call('XADD', KEYS[3], '*', unpack(entries[1][2])) end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.pcall('UNLINK', KEYS[2])
if #entries == 0 then return 'lost' end
return 1`

/**
 * KEYS: starts of the waits, due times. Returns the earliest start, or an empty string if none waits. Forgets entries that
 * wait no longer, because an operator deleted their due times.
 */
const OLDEST_WAITING = `
for _ = 1, 1000 do
  local first = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if #first == 0 then return '' end
  if redis.call('ZSCORE', KEYS[2], first[1]) then return first[2] end
  redis.call('ZREM', KEYS[1], first[1])
end
return ''`

/** KEYS: stream; ARGV: group, consumer. Removes a consumer that owns nothing: removal deletes its pending entries. */
const REMOVE_CONSUMER = `
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local found = {}
  for i = 1, #row, 2 do found[row[i]] = row[i + 1] end
  if found['name'] == ARGV[2] and found['pending'] == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
    return 1
  end
end
return 0`

/** KEYS: name key; ARGV: token, expiry. Holds a consumer name, or renews the hold. Returns 0 if another process has it. */
const HOLD_NAME = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

/** KEYS: name key; ARGV: token. Ends the hold. */
const RELEASE_NAME = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
return 1`

/**
 * KEYS: types of a group; ARGV: lifetime, types. Stores until when each type is announced. Returns 1 if the group had
 * types, but not all of these.
 */
const ANNOUNCE_TYPES = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local had, news = redis.call('EXISTS', KEYS[1]), 0
for i = 2, #ARGV do
  local ends = redis.call('HGET', KEYS[1], ARGV[i])
  if not ends or tonumber(ends) < now then news = 1 end
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f', now + ARGV[1]))
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
if had == 1 and news == 1 then return 1 end
return 0`

/** KEYS: types of a group; ARGV: types. Returns those that are announced. */
const HANDLED_TYPES = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local handled = {}
for i = 1, #ARGV do
  local ends = redis.call('HGET', KEYS[1], ARGV[i])
  if ends and tonumber(ends) >= now then handled[#handled + 1] = ARGV[i] end
end
return handled`

/**
 * KEYS: next turn; ARGV: interval and tolerance, in microseconds. Takes a turn if one is free and returns 0, otherwise the
 * time until the next one. If the clock was set back, the wait is at most one interval.
 */
const TAKE_TURN = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local at = math.min(tonumber(redis.call('GET', KEYS[1]) or '0'), now + interval)
if at > now then return at - now end
local following = math.max(at, now - ARGV[2]) + interval
-- A turn that comes on time must still find it.
local lifetime = math.ceil((following + ARGV[2] - now) / 1000) + 1
redis.call('SET', KEYS[1], string.format('%.0f', following), 'PX', string.format('%.0f', lifetime))
return 0`

/** Returns 0 if a member beats. */
const UNLESS_LIVING = `${NOW}
local at = now()
local members = redis.call('HGETALL', KEYS[1])
for i = 2, #members, 2 do
  local beat = tonumber(string.match(members[i], '^(%d+)'))
  if beat and at - beat < tonumber(ARGV[2]) then return 0 end
end
`

/**
 * KEYS: members, streams; ARGV: group, milliseconds in which a living member beats, the id for each stream. Moves the group
 * behind these ids, without pending entries. Returns 0, without effect, if a member lives.
 */
const SEEK_GROUP = `${UNLESS_LIVING}
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('XGROUP', 'DESTROY', KEYS[i], ARGV[1]) end
  redis.call('XGROUP', 'CREATE', KEYS[i], ARGV[1], ARGV[i + 1], 'MKSTREAM')
end
return 1`

/**
 * KEYS: members, streams; ARGV: group, milliseconds in which a living member beats. Deletes the group. Returns 0, without
 * effect, if a member lives.
 */
const DELETE_GROUP = `${UNLESS_LIVING}
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('XGROUP', 'DESTROY', KEYS[i], ARGV[1]) end
end
return 1`

/** KEYS: texts, expiries; ARGV: id, text, lifetime in ms. Stores the report of a process, and removes expired ones. */
const REPORT = `${NOW}
local at = now()
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', at) .. ' ' .. ARGV[2])
redis.call('ZADD', KEYS[2], at + ARGV[3], ARGV[1])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', at, 'LIMIT', 0, 100)) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[3])
redis.call('PEXPIRE', KEYS[2], 2 * ARGV[3])`

/** The reply of a script whose fence is no longer valid, or whose entry belongs to another consumer. */
export const FENCED_OFF = -1

const FENCED_SCRIPTS = {
  RENEW,
  RECORD_ATTEMPT,
  RELEASE,
  ACKNOWLEDGE,
  CLAIM,
  DEAD_LETTER,
  POSTPONE,
  PARK,
  PASS_ON,
}

const SCRIPTS = {
  DELETE_GROUP,
  SEEK_GROUP,
  REPLAY,
  REMOVE_PARKED,
  STALE_PARKED,
  REMOVE_CONSUMER,
  HOLD_NAME,
  RELEASE_NAME,
  ANNOUNCE_TYPES,
  HANDLED_TYPES,
  BEAT,
  EVICT,
  LEAVE,
  GIVE_UP,
  SET_DUE,
  NEXT_DUE,
  RELEASE_WAITING,
  OLDEST_WAITING,
  TAKE_TURN,
  REPORT,
}

export function runScript(
  client: RedisClient,
  name: keyof typeof SCRIPTS,
  keys: readonly string[],
  args: readonly RedisArgument[],
): Promise<unknown> {
  return client.sendCommand(['EVAL', SCRIPTS[name], String(keys.length), ...keys, ...args])
}

/** The right to change the entries of a stream: the lease of its partition, or none in a group without leases. */
export interface Fence {
  /** The key with the leases of the group. */
  readonly leases: string
  readonly partition: number
  readonly lease: StreamLease | undefined
}

/** Runs a script that has no effect, and returns {@link FENCED_OFF}, if the lease is not valid. */
export function runFenced(
  client: RedisClient,
  name: keyof typeof FENCED_SCRIPTS,
  { leases, partition, lease }: Fence,
  keys: readonly [string, ...string[]],
  args: readonly RedisArgument[],
): Promise<unknown> {
  // Without a lease, the script does not read the first key.
  const all = [lease === undefined ? keys[0] : leases, ...keys]
  const fence = [String(partition), lease?.fence ?? '']
  return client.sendCommand(['EVAL', FENCED_SCRIPTS[name], String(all.length), ...all, ...fence, ...args])
}
