import { FENCED, MAX_UNPACKED, NOW } from './script-parts.ts'

/**
 * Gives an entry its place in each of the orders from `KEYS[first]` on, and notes them under the id of its dead letter. The
 * first call tests the right to do so.
 */
const PARKED = `
local function takePlaces(first, members)
  for i = first, #KEYS do
    local member = ARGV[members + i - first]
    if not redis.call('LPOS', KEYS[i], member) then redis.call('RPUSH', KEYS[i], member) end
  end
end
local function note(parked, letter, value)
  if letter == '' then
    redis.call('HSET', parked, '', '')
    redis.call('HDEL', parked, '')
  else
    redis.call('HSET', parked, letter, value)
  end
end
`

/** Takes a member out of an order. If it was the first, the next one becomes due, unless it is a dead letter itself. */
const LEAVE_ORDER = `${NOW}
local function leave(due, order, member)
  local first = redis.call('LINDEX', order, 0)
  if redis.call('LREM', order, 1, member) == 0 or first ~= member then return end
  local following = redis.call('LINDEX', order, 0)
  if following then redis.call('ZADD', due, 'XX', string.format('%.0f', now()), following) end
end
`

/**
 * KEYS: stream, dead letters, retry key, then, if later entries wait behind the dead letter, the places of dead letters and
 * the orders; ARGV: group, consumer, id, the note of the places, the member for each order, then the fields to add. Copies
 * the entry unchanged, adds the fields, takes the places, acknowledges. Returns 0, without effect, if the entry was settled
 * before: the reply to an earlier try was lost. Returns -1, without effect, if another consumer owns the entry. Returns 2,
 * without effect, if the entry no longer exists or has more fields than Lua can pass to one command. The retry key expires by
 * itself, so the script continues if the server does not allow its removal.
 */
export const DEAD_LETTER = `${FENCED}${PARKED}
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #pending == 0 then return 0 end
if pending[1][2] ~= ARGV[2] then return -1 end
local entries = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])
if #entries == 0 or #entries[1][2] > ${MAX_UNPACKED} then return 2 end
local fields = entries[1][2]
for i = 5 + math.max(#KEYS - 4, 0), #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('XACK', KEYS[1], ARGV[1], '0-0')
if #KEYS > 3 then
  takePlaces(5, 5)
  note(KEYS[4], '')
end
local letter = redis.call('XADD', KEYS[2], '*', unpack(fields))
if #KEYS > 3 then note(KEYS[4], letter, ARGV[4]) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.pcall('UNLINK', KEYS[3])
return 1`

/** KEYS: places of dead letters, orders; ARGV: id of the dead letter, the note, members. Takes the places of a dead letter. */
export const PARK = `${FENCED}${PARKED}
takePlaces(2, 3)
note(KEYS[1], ARGV[1], ARGV[2])
return 1`

/** KEYS: due times, order; ARGV: member. Takes a member out of an order, and makes the next one due. */
export const PASS_ON = `${FENCED}${LEAVE_ORDER}
leave(KEYS[1], KEYS[2], ARGV[1])
return 1`

/**
 * KEYS: dead letters, replays, then, if it has places, the places of dead letters, the due times, and the orders that the
 * entry leaves; ARGV: id, header name, header value, the member for each order, then fields to add. Moves a dead letter to the replay stream,
 * without the fields that dead-lettering added. Returns 0 if it does not exist, 2 if it has more fields than Lua can pass to
 * one command.
 */
export const REPLAY = `${LEAVE_ORDER}
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #entries == 0 then return 0 end
local fields = {}
local all = entries[1][2]
if #all > ${MAX_UNPACKED} then return 2 end
for i = 1, #all, 2 do
  local name = all[i]
  if name ~= 'original_message_id' and name ~= 'retry_count' and name ~= ARGV[2] and string.sub(name, 1, 4) ~= 'dlq_' then
    fields[#fields + 1] = name
    fields[#fields + 1] = all[i + 1]
  end
end
fields[#fields + 1] = ARGV[2]
fields[#fields + 1] = ARGV[3]
for i = 4 + math.max(0, #KEYS - 4), #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('XDEL', KEYS[1], '0-0')
if #KEYS > 2 then redis.call('HDEL', KEYS[3], '') end
redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
if #KEYS > 2 then redis.call('HDEL', KEYS[3], ARGV[1]) end
for i = 5, #KEYS do leave(KEYS[4], KEYS[i], ARGV[i - 1]) end
return 1`

/**
 * KEYS: dead letters, places of dead letters, due times, orders; ARGV: id, the member for each order. Removes a dead letter,
 * and lets the entries behind it follow. Returns 0 if the dead letter did not exist any more.
 */
export const REMOVE_PARKED = `${LEAVE_ORDER}
redis.call('HDEL', KEYS[2], '')
local existed = redis.call('XDEL', KEYS[1], ARGV[1])
for i = 4, #KEYS do leave(KEYS[3], KEYS[i], ARGV[i - 2]) end
redis.call('HDEL', KEYS[2], ARGV[1])
return existed`

/**
 * KEYS: places of dead letters, dead letters; ARGV: maximum number. Looks at some dead letters with places. Returns the id and
 * the note of each that does not exist any more.
 */
export const STALE_PARKED = `
local stale = {}
local noted = redis.call('HRANDFIELD', KEYS[1], ARGV[1], 'WITHVALUES')
for i = 1, #noted, 2 do
  if #redis.call('XRANGE', KEYS[2], noted[i], noted[i]) == 0 then
    stale[#stale + 1] = noted[i]
    stale[#stale + 1] = noted[i + 1]
  end
end
return stale`
